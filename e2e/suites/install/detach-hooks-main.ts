// Detaches what redirects outbound connections of the node it runs on, as somebody with root and a bpf tool could. The pins
// stay where they are.

import { closeSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openPinned } from '../../../bpf/bpf-link.ts';
import { libbpf } from '../../../bpf/libbpf.ts';

const root = '/sys/fs/bpf/weft';
const pins = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) =>
  /connect[46]$/.test(path),
);
for (const pin of pins) {
  const link = openPinned(join(root, pin));
  if (libbpf().linkDetach(link) < 0) throw new Error(`Could not detach ${pin}`);
  closeSync(link);
}
console.log(pins.length);
