// Brings the cluster up before the first test file and takes it down after the last.

import { join } from 'node:path';
import { session, sessionCluster } from './session.ts';

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (session().held === true) return undefined;
  const cluster = sessionCluster();
  const started = performance.now();
  try {
    await cluster.up({ kubeProxyMode: 'nftables', images: session().images });
  } catch (error) {
    const folder = join(session().failures, 'cluster-up');
    await cluster.collectLogs(folder);
    console.error(`e2e: the cluster did not come up; its logs are in ${folder}`);
    await cluster.down();
    throw error;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(`e2e: ${cluster.backend} cluster with ${cluster.nodes.length} nodes is ready (${seconds} s)`);
  return async () => await cluster.down();
}
