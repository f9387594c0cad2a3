// What the node tunnel of a node holds: descriptors, network namespaces, kernel objects, memory.

import { fileURLToPath } from 'node:url';
import type { Cluster } from '../../cluster/cluster.ts';
import { ClusterError } from '../../cluster/cluster-error.ts';
import { onNode } from '../on-node.ts';

export interface Footprint {
  readonly descriptors: number;
  /** Of the descriptors those that are network namespaces. */
  readonly namespaces: number;
  /** Files on the node's bpffs. */
  readonly pins: number;
  /** By map, but for those that forget the oldest by themselves; none where the node has not the project's files. */
  readonly mapEntries: Readonly<Record<string, number>>;
  /** MiB of resident memory. */
  readonly memory: number;
}

/** Entries of handshakes that failed stay until their place is needed. */
const forgetful = /\/flows$/;

const program = fileURLToPath(new URL('map-entries-main.ts', import.meta.url));

/** One `name value` a line, in the order of the fields. */
const script = `
pid=$(for p in /proc/[0-9]*; do grep -qs 'ztunnel/main[.]js' $p/cmdline && echo \${p#/proc/}; done | head -1)
echo descriptors $(ls /proc/$pid/fd | wc -l)
echo namespaces $(ls -l /proc/$pid/fd | grep -c 'net:\\[')
echo pins $(find /sys/fs/bpf -type f | wc -l)
echo memory $(awk '/^VmRSS/ { print int($2 / 1024) }' /proc/$pid/status)
`;

/** Throws ClusterError where no node tunnel runs. */
export async function footprint(cluster: Cluster, node: string): Promise<Footprint> {
  const lines = (await onNode(cluster, node, ['bash', '-c', script])).trim().split('\n');
  const values = new Map(lines.map((line) => line.split(' ') as [string, string]));
  const value = (name: string): number => {
    const found = Number(values.get(name));
    if (Number.isNaN(found)) throw new ClusterError('command', `Node ${node} told no ${name}`);
    return found;
  };
  const counts =
    cluster.backend === 'local' ? await onNode(cluster, node, [process.execPath, program]) : '{}';
  const entries = Object.entries(JSON.parse(counts) as Record<string, number>);
  return {
    descriptors: value('descriptors'),
    namespaces: value('namespaces'),
    pins: value('pins'),
    mapEntries: Object.fromEntries(entries.filter(([map]) => !forgetful.test(map))),
    memory: value('memory'),
  };
}
