// Finds the root of the cgroup2 tree, also on hybrid machines where it is mounted beside the cgroup v1 controllers.

import { readFileSync } from 'node:fs';
import { BpfError } from './bpf-error.ts';

/**
 * Mount point of cgroup2. In a container this is the root of the container's cgroup namespace: mount the host's and
 * give its path where pods live outside.
 * @throws BpfError no-cgroup2
 */
export function cgroupRoot(): string {
  return cgroupMount().path;
}

export interface CgroupMount {
  readonly path: string;
  /** Which directory of the tree is mounted there, as this process's cgroup namespace sees it: `/` the whole of it. */
  readonly root: string;
}

/** The mount that cgroupRoot() is the path of. @throws BpfError no-cgroup2 */
export function cgroupMount(): CgroupMount {
  const found = parseCgroupMount(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (found === undefined) {
    throw new BpfError(
      'no-cgroup2',
      'Could not find a cgroup2 mount in /proc/self/mountinfo: mount one (mount -t cgroup2 none DIR)',
    );
  }
  return found;
}

/** proc(5): `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS`. Prefers a mount of the whole tree. */
export function parseCgroupMount(mountinfo: string): CgroupMount | undefined {
  let partial: CgroupMount | undefined;
  for (const line of mountinfo.split('\n')) {
    const [fields, type] = line.split(' - ');
    if (fields === undefined || !type?.startsWith('cgroup2 ')) continue;
    const [, , , root, mountPoint] = fields.split(' ');
    if (root === undefined || mountPoint === undefined) continue;
    const mount = { path: unescaped(mountPoint), root: unescaped(root) };
    if (root === '/') return mount;
    partial ??= mount;
  }
  return partial;
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
