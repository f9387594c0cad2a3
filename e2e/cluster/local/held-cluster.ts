// A cluster that one process holds (`npm run e2e -- --hold`) while others run tests on it (`--held`): where its record
// is, and how to get into its namespaces.

import { readFileSync, writeFileSync } from 'node:fs';
import { ClusterError } from '../cluster-error.ts';
import type { Session } from '../session.ts';

export interface HeldCluster {
  /** Of the process that made the namespaces. */
  readonly pid: number;
  readonly session: Session;
}

export function recordHeld(file: string, held: HeldCluster): void {
  writeFileSync(file, JSON.stringify(held), { mode: 0o600 });
}

/** Throws ClusterError if none is held. */
export function readHeld(file: string): HeldCluster {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as HeldCluster;
  } catch (cause) {
    const message = 'No cluster is held; start one with npm run e2e -- --hold';
    throw new ClusterError('unsupported', message, { cause });
  }
}

/** The beginning of a command that runs in the namespaces of a held cluster. */
export function enterHeld({ pid }: HeldCluster): readonly string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return ['nsenter', '--target', children, '--mount', '--net', '--pid', '--'];
}
