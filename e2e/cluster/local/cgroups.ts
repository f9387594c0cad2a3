// The control groups of local nodes: one directory a node in every hierarchy, named so that a later run knows whose it
// is. A node sees its directory as the root (cgroup namespace), so what it attaches there concerns nobody else.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const prefix = 'weft-e2e.';

/** Mount points of every hierarchy: those of cgroup v1, and that of cgroup2. */
export function cgroupRoots(): readonly string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const roots = mounts
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, path = '']) => path);
  return [...new Set(roots)];
}

/** The name of a node's directory in each hierarchy. */
export function cgroupName(run: string, node: string): string {
  return `${prefix}${run}.${node}`;
}

/** Makes the directories and returns the files that a process writes itself into. */
export function makeCgroups(run: string, node: string): readonly string[] {
  return cgroupRoots().map((root) => {
    const directory = join(root, cgroupName(run, node));
    mkdirSync(directory, { recursive: true });
    // Nobody may enter a cpuset that has no processors or memory yet.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const ofParent = join(root, file);
      if (existsSync(ofParent) && existsSync(join(root, 'cgroup.clone_children')))
        writeFileSync(join(directory, file), readFileSync(ofParent));
    }
    return join(directory, 'cgroup.procs');
  });
}

/** Names of the runs that have directories. */
export function runsWithCgroups(): ReadonlySet<string> {
  const names = cgroupRoots().flatMap((root) => readdirSync(root));
  const ours = names.filter((name) => name.startsWith(prefix));
  return new Set(ours.map((name) => name.slice(prefix.length).split('.')[0] ?? ''));
}

/**
 * Removes every directory of a run, or of one of its nodes. Processes must have ended or be ending: a directory is tried
 * for some seconds. Returns those that stayed.
 */
export async function removeCgroups(run: string, node?: string): Promise<readonly string[]> {
  const own = cgroupName(run, node ?? '');
  const isOwn = (name: string): boolean => (node === undefined ? name.startsWith(own) : name === own);
  const deadline = performance.now() + 5_000;
  for (;;) {
    const left = cgroupRoots().flatMap((root) =>
      readdirSync(root)
        .filter(isOwn)
        .map((name) => join(root, name))
        .filter((directory) => !removeTree(directory)),
    );
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(50);
  }
}

/** Depth first; only directories can be removed, the files go with them. */
function removeTree(directory: string): boolean {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(join(directory, entry.name));
    }
    rmdirSync(directory);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}
