// What processes hold: their children, resident memory and descriptors, from /proc. CPU time is read by the load tools
// themselves, so that it covers exactly the measured window.

import { readdirSync, readFileSync } from 'node:fs';

/** A process and all its descendants, for servers that fork their workers. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    const parent = Number.isInteger(pid) ? parentOf(pid) : undefined;
    if (parent !== undefined) parents.set(pid, parent);
  }
  const tree = [root];
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  }
  return tree;
}

/** VmRSS of all of them together, bytes. A page that a parent and its child share counts twice. */
export function residentBytes(pids: readonly number[]): number {
  return sum(pids, (pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  });
}

/** Open file descriptors of all of them together. */
export function openDescriptors(pids: readonly number[]): number {
  return sum(pids, (pid) => readdirSync(`/proc/${pid}/fd`).length);
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}
