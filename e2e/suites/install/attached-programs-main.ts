// Counts the BPF programs that are attached on the node it runs on: at the root of its control groups, by type, and to the
// network namespaces of its processes. Prints {hook: count} as JSON, without hooks that have none.

import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import koffi from 'koffi';
import { cgroupRoot } from '../../../bpf/cgroup-root.ts';
import { BPF_SK_LOOKUP } from '../../../bpf/libbpf.ts';

/** Every type of `enum bpf_attach_type` that a control group takes up to Linux 6.6; others answer with an error. */
const lastAttachType = 60;
const room = 64;

const library = koffi.load('libbpf.so.1');
const query = library.func(
  'int bpf_prog_query(int target, int type, uint32_t flags, void *attached, void *ids, _Inout_ uint32_t *count)',
) as (target: number, type: number, flags: number, attached: Buffer, ids: Buffer, count: number[]) => number;

const counts: Record<string, number> = {};
countAt(
  cgroupRoot(),
  'cgroup',
  Array.from({ length: lastAttachType }, (_, type) => type),
);
for (const path of networkNamespaces()) countAt(path, 'netns', [BPF_SK_LOOKUP]);
console.log(JSON.stringify(counts));

function countAt(path: string, name: string, types: readonly number[]): void {
  const fd = openSync(path, 'r');
  try {
    for (const type of types) {
      const count = [room];
      const result = query(fd, type, 0, Buffer.alloc(4), Buffer.alloc(4 * room), count);
      const key = `${name}/${type}`;
      if (result === 0 && (count[0] ?? 0) > 0) counts[key] = (counts[key] ?? 0) + (count[0] ?? 0);
    }
  } finally {
    closeSync(fd);
  }
}

/** One path for each. A process may end meanwhile. */
function networkNamespaces(): readonly string[] {
  const paths = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => `/proc/${pid}/ns/net`);
  const byId = paths.flatMap((path) => {
    try {
      return [[readlinkSync(path), path] as const];
    } catch {
      return [];
    }
  });
  return [...new Map(byId).values()];
}
