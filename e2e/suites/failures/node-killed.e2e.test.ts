// A node dies without a word: callers on others are served by the endpoints that are left, and the dead ones leave the
// rotation when the cluster's failure detector has spoken.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshRunning } from '../mesh-installation.ts';
import { untilCaptured, workloadsOf } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'survivors';
/** After the failure detector has spoken. A quiet machine takes less than a second, most of it to ask. */
const leavesWithinMs = 10_000;

describe('when a node dies', () => {
  const app = appNamespace(cluster, namespace);
  let victim: string;
  let survivor: string;

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create({ labels: { 'weft.dev/mode': 'ambient' } });
    await untilCaptured(cluster, app);
    // Names are resolved by a pod of the cluster, of which there is one.
    const dns = ['get', 'pods', '-n', 'kube-system', '-l', 'k8s-app=kube-dns', '-o'];
    survivor = (await kubectl.ok([...dns, 'jsonpath={.items[0].spec.nodeName}'])).trim();
    victim = nodes.find((node) => node !== survivor) ?? '';
    const served = async () => {
      const answers = await app.callFrom(survivor, 'http://web/', 16);
      expect(new Set(answers.map(({ node }) => node))).toEqual(new Set(nodes));
    };
    await vi.waitFor(served, { timeout: 30_000 });
  });
  afterAll(async () => {
    await cluster.restartNode(victim);
    await meshRunning(kubectl);
    await app.remove();
  }, 180_000);

  test('callers elsewhere are served on, and its pods leave the rotation as soon as the cluster knows', async () => {
    const agent = app.agent(survivor);
    const load = { id: 'steady', kind: 'connections', host: 'web', port: 80 } as const;
    await agent.call('startLoad', { ...load, concurrency: 8, perSecond: 50 });
    await cluster.killNode(victim);
    // What was under way there is lost with it; what begins from now on is not.
    await agent.call('markLoad', load.id);
    await kubectl.ok(['wait', '--for=condition=Ready=Unknown', `node/${victim}`, '--timeout=90s']);
    const known = performance.now();
    const healthy = async () => {
      const workloads = await workloadsOf(cluster, { node: survivor, namespace });
      return workloads.filter(({ node, health }) => node === victim && health === 'healthy');
    };
    await expect.poll(healthy, { timeout: leavesWithinMs, interval: 100 }).toEqual([]);
    const took = Math.round(performance.now() - known);
    console.error(`e2e: endpoints of a dead node left ${took} ms after it was known to be dead`);
    const answers = await app.callFrom(survivor, 'http://web/', 32);
    expect(new Set(answers.map(({ node }) => node))).toEqual(new Set([survivor]));
    const { afterMark, errors } = await agent.call('stopLoad', load.id);
    expect(afterMark.failed, JSON.stringify(errors)).toBe(0);
    expect(afterMark.succeeded).toBeGreaterThan(100);
  });
});
