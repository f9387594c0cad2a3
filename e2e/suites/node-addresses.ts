// Where the nodes of a cluster are reached.

import type { Cluster } from '../cluster/cluster.ts';

/** By name; of the first address family. */
export async function nodeAddresses({ kubectl, nodes }: Cluster): Promise<ReadonlyMap<string, string>> {
  const address = (node: string) => {
    const path = 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}';
    return kubectl.ok(['get', 'node', node, '-o', path]);
  };
  const found = await Promise.all(nodes.map(address));
  return new Map(nodes.map((node, index) => [node, found[index]?.split(' ')[0] ?? '']));
}
