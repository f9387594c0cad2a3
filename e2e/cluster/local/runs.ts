// The runs of local clusters on this machine: a name and a directory each, held by the process that made it. A run that
// ended without removing what it made is removed by the next one. Processes, mounts and network namespaces need no
// record: they are in namespaces of the run (isolated-run.ts) that end with it, however it ends.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identifyProcess, isAlive, type ProcessIdentity } from '../../lab/process-identity.ts';
import { ClusterError } from '../cluster-error.ts';
import { removeCgroups, runsWithCgroups } from './cgroups.ts';

/** On a disk: nodes keep their images here. */
const runsDirectory = '/var/lib/weft-e2e';
const ownerFile = 'owner.json';

export interface Run {
  readonly name: string;
  readonly directory: string;
}

/** Takes a new name for this process, after removing what ended runs left. */
export async function beginRun(): Promise<Run> {
  const owner = identifyProcess(process.pid);
  if (owner === undefined) throw new ClusterError('unsupported', 'Could not read /proc; is it mounted?');
  mkdirSync(runsDirectory, { recursive: true, mode: 0o711 });
  await removeEndedRuns();
  const name = `${process.pid}-${owner.startTicks}`;
  const directory = join(runsDirectory, name);
  mkdirSync(directory, { mode: 0o711 });
  writeFileSync(join(directory, `${ownerFile}.new`), JSON.stringify(owner), { mode: 0o600 });
  renameSync(join(directory, `${ownerFile}.new`), join(directory, ownerFile));
  return { name, directory };
}

/** Removes everything of a run. Idempotent. Throws ClusterError if something cannot be removed. */
export async function endRun({ name, directory }: Run): Promise<void> {
  const left = await removeCgroups(name);
  if (left.length > 0) throw new ClusterError('command', `Could not remove ${left.join(', ')}`);
  rmSync(directory, { recursive: true, force: true });
}

async function removeEndedRuns(): Promise<void> {
  const names = new Set([...readdirSync(runsDirectory), ...runsWithCgroups()]);
  for (const name of names) {
    const directory = join(runsDirectory, name);
    const owner = ownerOf(directory);
    if (owner === undefined || !isAlive(owner)) await endRun({ name, directory });
  }
}

function ownerOf(directory: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, ownerFile), 'utf8')) as ProcessIdentity;
  } catch {
    return undefined;
  }
}
