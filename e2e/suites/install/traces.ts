// What an installation could leave behind, on a node and in the API server, as lists that can be compared.

import { fileURLToPath } from 'node:url';
import { discoverAll, listObjects, nameOf } from '../../../cli/uninstall/kube-objects.ts';
import { KubeClient } from '../../../controller/kubernetes/kube-client.ts';
import { systemClock } from '../../../mesh/runtime/clock.ts';
import type { Cluster } from '../../cluster/cluster.ts';
import { onNode } from '../on-node.ts';

export interface NodeTraces {
  /** Pinned objects, files of the mesh, CNI plugins with their checksums, and Unix sockets of the mesh. */
  readonly files: readonly string[];
  /** CNI configuration by path; how it is formatted is nobody's business. */
  readonly chains: Readonly<Record<string, unknown>>;
  /** Attached BPF programs by hook; none where the node has not the project's files. */
  readonly programs: Readonly<Record<string, number>>;
}

const program = fileURLToPath(new URL('attached-programs-main.ts', import.meta.url));
const script = `
find /sys/fs/bpf -mindepth 1
find /var/lib/weft -mindepth 1 2>/dev/null
find /etc/cni/net.d
find /opt/cni/bin -type f -exec cksum {} + 2>/dev/null
grep -o '[@/][^ ]*weft[^ ]*' /proc/net/unix
true
`;
const chainsScript = 'for f in /etc/cni/net.d/*.conf*; do echo "$f"; tr -d "\\n" < "$f"; echo; done';
/** Made by Kubernetes as time goes by. */
const passing = new Set(['Event', 'Lease', 'APIService']);

export async function nodeTraces(cluster: Cluster, node: string): Promise<NodeTraces> {
  const files = (await onNode(cluster, node, ['bash', '-c', script]))
    .split('\n')
    .filter((line) => line !== '');
  const lines = (await onNode(cluster, node, ['bash', '-c', chainsScript])).trimEnd().split('\n');
  const chains: Record<string, unknown> = {};
  for (let i = 0; i + 1 < lines.length; i += 2) chains[lines[i] ?? ''] = JSON.parse(lines[i + 1] ?? '');
  const programs =
    cluster.backend === 'local' ? await onNode(cluster, node, [process.execPath, program]) : '{}';
  return { files: files.toSorted(), chains, programs: JSON.parse(programs) as Record<string, number> };
}

/** Names of all objects there are, sorted. */
export async function objectNames({ kubeconfig }: Cluster): Promise<readonly string[]> {
  const client = KubeClient.fromFile(kubeconfig, { clock: systemClock });
  try {
    const { kinds } = await discoverAll(client);
    const lists = await Promise.all(
      kinds.filter(({ kind }) => !passing.has(kind)).map((kind) => listObjects(client, kind, {})),
    );
    return lists.flat().map(nameOf).toSorted();
  } finally {
    client.close();
  }
}
