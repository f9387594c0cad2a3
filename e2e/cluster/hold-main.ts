// Brings the cluster of a session up and holds it until it is killed: for looking around, and for running tests again and
// again without waiting for a cluster (held-cluster.ts).

import { session, sessionCluster } from './session.ts';

const cluster = sessionCluster();
await cluster.up({ kubeProxyMode: 'nftables', images: session().images });
console.error(
  `e2e: ${cluster.nodes.length} nodes are ready; npm run e2e -- --held runs tests on them. Ctrl-C ends it`,
);
setInterval(() => {}, 3_600_000);
