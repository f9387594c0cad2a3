// What a node tunnel leaves on its node, and how it goes: captured pods, pins, the CNI step, the node directory. Run in the
// place of a node tunnel (`--remove-node-state=true`), it then stays, ready, so that a DaemonSet's rollout comes to its end.

import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { openReadinessServer, Readiness } from '../mesh/proxy/readiness.ts';
import { removePlugin } from './cni-files.ts';
import { pinDirectoryOf, type ZtunnelConfig } from './config.ts';
import { endLeftCapture } from './left-capture.ts';

/** Settings that say where something is. */
export type NodeStatePlaces = Pick<
  ZtunnelConfig,
  'node' | 'pin-dir' | 'cni-dir' | 'cni-conf-dir' | 'cni-bin-dir'
>;

/** An earlier process that still ends may put something back. */
const againMs = 1_000;

/** Idempotent. What could not be removed is returned with its reasons, one a line; the rest is gone. */
export function removeNodeState(places: NodeStatePlaces): readonly string[] {
  const problems: string[] = [];
  const attempt = (what: string, run: () => void): void => {
    try {
      run();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const nodeDirectory = places['cni-dir'];
  const directories = { conf: places['cni-conf-dir'], bin: places['cni-bin-dir'] };
  // The chain before what it leads to: a pod that starts meanwhile must not wait for it.
  if (nodeDirectory !== undefined && existsSync(directories.conf))
    attempt('CNI step', () => removePlugin(directories));
  attempt('capture', () => removePins(pinDirectoryOf(places)));
  if (nodeDirectory !== undefined) attempt('node directory', () => emptyDirectory(nodeDirectory));
  return problems;
}

/** Resolves when `asked` does. */
export async function runNodeStateRemoval(
  config: NodeStatePlaces & Pick<ZtunnelConfig, 'readiness-port'>,
  options: { readonly asked: Promise<unknown>; readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const { asked, clock, logger } = options;
  const readiness = new Readiness();
  const done = readiness.task('removal of what a node tunnel left');
  const server = await openReadinessServer(readiness, { port: config['readiness-port'] });
  let timer: Timer | undefined;
  let told: string | undefined;
  const remove = (): void => {
    const problems = removeNodeState(config);
    if (problems.length === 0) done();
    const text = problems.join('; ');
    if (text !== told && problems.length === 0)
      logger.info({}, 'Nothing of the node tunnel is left on this node');
    else if (text !== told) logger.error({ problems }, 'Not all could be removed; trying again');
    told = text;
    timer = clock.after(againMs, remove);
  };
  remove();
  await asked;
  timer?.cancel();
  await server.close();
}

function removePins(directory: string | undefined): void {
  if (directory === undefined || !existsSync(directory)) return;
  endLeftCapture(directory);
  const parent = dirname(directory);
  if (existsSync(parent) && readdirSync(parent).length === 0) rmdirSync(parent);
}

/** Itself it may be a mount point. */
function emptyDirectory(directory: string): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true, force: true });
}
