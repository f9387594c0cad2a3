// Where a process is in the cgroup2 tree as this process sees it mounted. What /proc/PID/cgroup says is relative to the
// reader's cgroup namespace, which in a container is not the root of what is mounted; so the tree itself is asked.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface ProcessCgroup {
  /** From the root of the tree, for example `/system.slice/kubelet.service`; `/` for the root. */
  readonly path: string;
  /** What bpf_get_current_cgroup_id() gives: the inode of the directory (64-bit kernels, 5.5). */
  readonly id: bigint;
}

/** More directories than a node with a thousand pods has; the walk ends there. */
const maxDirectories = 20_000;

/**
 * The directory whose processes `pid` is among, from the root downwards; undefined if the process has ended or the tree
 * does not show it. Takes some tens of milliseconds in a large tree: not for every process.
 * @param root mount point of cgroup2 @param text of /proc/PID/cgroup, which says how the path ends
 */
export function findCgroup(root: string, pid: number, text: string): ProcessCgroup | undefined {
  const ending = pathEnding(text);
  if (ending === undefined) return undefined;
  const level = [''];
  for (let i = 0; i < level.length && i < maxDirectories; i++) {
    const path = level[i] ?? '';
    const directory = join(root, path);
    if (path.endsWith(ending) && hasProcess(directory, pid)) {
      return { path: path === '' ? '/' : path, id: statSync(directory, { bigint: true }).ino };
    }
    for (const name of childrenOf(directory)) level.push(`${path}/${name}`);
  }
  return undefined;
}

/** The cgroup2 line is `0::PATH`. Leading `/..` lead out of the reader's namespace. */
function pathEnding(text: string): string | undefined {
  const path = /^0::(.*)$/m.exec(text)?.[1];
  return path?.replace(/^(\/\.\.)+/, '').replace(/\/$/, '');
}

function hasProcess(directory: string, pid: number): boolean {
  try {
    return readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').includes(`${pid}`);
  } catch {
    return false; // gone meanwhile, or a threaded group
  }
}

function childrenOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
