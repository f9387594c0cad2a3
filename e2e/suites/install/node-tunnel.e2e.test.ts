import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh } from '../mesh-installation.ts';
import { capturedPods, killNodeTunnel, tunnelRestarts } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;

describe('the node tunnel in a cluster', () => {
  const inside = appNamespace(cluster, 'inside');
  const outside = appNamespace(cluster, 'outside');

  beforeAll(async () => {
    await installMesh(cluster);
    await Promise.all([inside.create(), outside.create()]);
  });
  afterAll(async () => {
    await Promise.all([inside.remove(), outside.remove()]);
  });

  test('captures running pods when their namespace is labelled, on every node, without a restart', async () => {
    await inside.label('weft.dev/mode=ambient');
    const pods = await inside.podNames();
    await expect.poll(() => capturedPods(cluster, 'inside'), { timeout: 20_000 }).toEqual(pods);
    for (const node of cluster.nodes) {
      const answers = await inside.callFrom(node, 'http://web/', 16);
      expect(new Set(answers.map((answer) => answer.node))).toEqual(new Set(cluster.nodes));
      const address = await inside.clientAddress(node);
      expect(new Set(answers.map(({ peer }) => peer))).toEqual(new Set([address]));
    }
    expect(await inside.podNames()).toEqual(pods);
  });

  test('with mTLS STRICT refuses who is not in the mesh, and nobody who is', async () => {
    const policy = {
      apiVersion: 'weft.dev/v1alpha1',
      kind: 'PeerAuthentication',
      metadata: { name: 'strict', namespace: 'inside' },
      spec: { mtls: { mode: 'STRICT' } },
    };
    onTestFinished(
      async () => void (await kubectl.ok(['delete', 'peerauthentication', 'strict', '-n', 'inside'])),
    );
    await kubectl.apply(JSON.stringify(policy));
    for (const node of cluster.nodes) {
      const call = async () =>
        (await outside.outcomes(node, 'http://web.inside/', 4)).map(({ error }) => error);
      await expect.poll(call, { timeout: 20_000 }).not.toContain(undefined);
      expect(await inside.callFrom(node, 'http://web/', 8)).toHaveLength(8);
    }
  });

  test('is back after kill -9, and its pods are captured as before', async () => {
    const pods = await inside.podNames();
    const restarts = await tunnelRestarts(cluster);
    const node = cluster.nodes[0] ?? '';
    await killNodeTunnel(cluster, node);
    const served = async () => expect(await inside.callFrom(node, 'http://web/', 8)).toHaveLength(8);
    await vi.waitFor(served, { timeout: 30_000, interval: 100 });
    expect(await tunnelRestarts(cluster)).toBe(restarts + 1);
    expect(await capturedPods(cluster, 'inside')).toEqual(pods);
  });

  test('lets pods go when the label is removed, without a restart', async () => {
    const pods = await inside.podNames();
    await inside.label('weft.dev/mode-');
    await expect.poll(() => capturedPods(cluster, 'inside'), { timeout: 20_000 }).toEqual([]);
    for (const node of cluster.nodes) expect(await inside.callFrom(node, 'http://web/', 4)).toHaveLength(4);
    expect(await inside.podNames()).toEqual(pods);
  });
});
