import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;

describe('a cluster without the mesh', () => {
  const app = appNamespace(cluster, 'plain');
  beforeAll(async () => await app.create());
  afterAll(async () => await app.remove());

  test('has every node ready, on the version that was asked for', async () => {
    const nodes = await kubectl.json<{ items: { metadata: { name: string } }[] }>(['get', 'nodes']);
    const names = nodes.items.map(({ metadata }) => metadata.name);
    expect(names).toEqual(expect.arrayContaining([...cluster.nodes]));
  });

  test('joins pods by the name of a Service, on one node and across, with the address of the caller', async () => {
    const everyNodeAnswers = async (node: string) => {
      const answers = await app.callFrom(node, 'http://web/', 16);
      expect(new Set(answers.map(({ node: server }) => server))).toEqual(new Set(cluster.nodes));
      const address = await app.clientAddress(node);
      expect(new Set(answers.map(({ peer }) => peer))).toEqual(new Set([address]));
    };
    // A pod that is ready is not yet known to every kube-proxy.
    for (const node of cluster.nodes) await vi.waitFor(() => everyNodeAnswers(node), { timeout: 20_000 });
  });
});
