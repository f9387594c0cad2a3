// A program on a node whose failure is a failure of the test.

import type { Cluster } from '../cluster/cluster.ts';
import { ClusterError } from '../cluster/cluster-error.ts';

/** What it printed. Throws ClusterError. */
export async function onNode(cluster: Cluster, node: string, argv: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await cluster.execOnNode(node, argv);
  if (status !== 0) throw new ClusterError('command', `Could not look at node ${node}: ${stderr.trim()}`);
  return stdout;
}
