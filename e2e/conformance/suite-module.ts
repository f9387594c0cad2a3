// What the pinned Go module of the suite itself says: where its source is, and which image its pods run.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterError } from '../cluster/cluster-error.ts';
import { run } from '../kubernetes/command.ts';

/** The folder with go.mod, go.sum and the test that is the program. */
export const suiteFolder = fileURLToPath(new URL('suite/', import.meta.url));

/** Name of the image that every pod of the mesh tests runs. Throws ClusterError. */
export async function echoImageName(): Promise<string> {
  const argv = ['go', 'list', '-mod=readonly', '-m', '-f', '{{.Dir}}', 'sigs.k8s.io/gateway-api/conformance'];
  const { status, stdout, stderr } = await run(argv, { cwd: suiteFolder });
  const directory = stdout.trim();
  if (status !== 0 || directory === '') {
    throw new ClusterError('command', `The Go module of the suite is not there: ${stderr.trim()}`);
  }
  const manifest = readFileSync(join(directory, 'mesh/manifests.yaml'), 'utf8');
  const names = new Set([...manifest.matchAll(/^ +image: (\S+)$/gm)].map(([, name = '']) => name));
  const [name, ...others] = names;
  if (name === undefined || others.length > 0) {
    throw new ClusterError('unsupported', `The suite has ${names.size} images, not one`);
  }
  return name;
}
