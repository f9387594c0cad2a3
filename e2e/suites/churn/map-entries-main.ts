// Counts the entries of every BPF map that is pinned below /sys/fs/bpf of the node it runs on. Prints {path: count} as JSON.
// Maps without keys to walk (storage of sockets) count 0.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openPinned } from '../../../bpf/bpf-link.ts';
import { BpfMap } from '../../../bpf/bpf-map.ts';
import * as libc from '../../../mesh/io/libc.ts';

const root = '/sys/fs/bpf';
const largestKey = 512;
const limit = 100_000;

const counts: Record<string, number> = {};
for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' }).toSorted()) {
  const file = join(root, path);
  if (!/\/maps\//.test(file) || !statSync(file).isFile()) continue;
  const fd = openPinned(file);
  counts[path] = new BpfMap(path, fd, { key: largestKey, value: 1 }).keys(limit).length;
  libc.close(fd);
}
console.log(JSON.stringify(counts));
