// Proves that BPF objects are gone: notes the ids of what this process holds, and later asks the kernel for them. By id,
// because other processes load programs of the same names meanwhile.

import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';

export interface HeldObjects {
  readonly programs: readonly number[];
  readonly maps: readonly number[];
}

const library = koffi.load('libbpf.so.1');
const programById = library.func('int bpf_prog_get_fd_by_id(uint32 id)') as (id: number) => number;
const mapById = library.func('int bpf_map_get_fd_by_id(uint32 id)') as (id: number) => number;
const ENOENT = -2;

/** Programs (also those that only a link holds) and maps behind a process's descriptors; see proc(5), fdinfo. */
export function heldObjects(pid: number | 'self' = 'self'): HeldObjects {
  const programs = new Set<number>();
  const maps = new Set<number>();
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const info = fdinfo(pid, fd);
    for (const [, id] of info.matchAll(/^prog_id:\s*(\d+)/gm)) programs.add(Number(id));
    for (const [, id] of info.matchAll(/^map_id:\s*(\d+)/gm)) maps.add(Number(id));
  }
  return { programs: [...programs], maps: [...maps] };
}

/** Those of `held` that are still there. The kernel frees after a grace period of RCU, so it is asked for 5 s at most. */
export async function remaining(held: HeldObjects): Promise<HeldObjects> {
  let left = held;
  for (let attempt = 0; attempt < 250; attempt++) {
    left = {
      programs: left.programs.filter((id) => exists(programById(id))),
      maps: left.maps.filter((id) => exists(mapById(id))),
    };
    if (left.programs.length + left.maps.length === 0) break;
    await sleep(20);
  }
  return left;
}

function exists(fd: number): boolean {
  if (fd >= 0) closeSync(fd);
  return fd !== ENOENT;
}

function fdinfo(pid: number | 'self', fd: string): string {
  try {
    return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
  } catch {
    return ''; // the descriptor of the directory being read
  }
}
