// What an operator's `bpftool link detach` does, to the links that this process has open.

import { readdirSync, readFileSync } from 'node:fs';
import { libbpf } from '../libbpf.ts';

/** Detaches every link of that kind (`link_type` of proc(5) fdinfo); says how many. */
export function detachLinks(type: 'cgroup' | 'netns'): number {
  const fds = readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((fd) => isLink(fd, type));
  for (const fd of fds) libbpf().linkDetach(fd);
  return fds.length;
}

function isLink(fd: number, type: string): boolean {
  try {
    return new RegExp(`^link_type:\\t${type}$`, 'm').test(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
  } catch {
    // Of the listing itself.
    return false;
  }
}
