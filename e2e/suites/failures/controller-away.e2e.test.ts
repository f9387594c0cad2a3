// The controller is away: what is known goes on, pods may come and go, nothing is lost; when it is back, everything is
// known again. Restarts of a node's own services are no more than that either.

import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshNamespace } from '../mesh-installation.ts';
import { untilCaptured } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'alone';
const load = { id: 'steady', kind: 'connections', host: `web.${namespace}`, port: 80 } as const;
const pace = { concurrency: 8, perSecond: 50 };

describe('a mesh that is left alone', () => {
  const app = appNamespace(cluster, namespace);

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create({ labels: { 'weft.dev/mode': 'ambient' } });
    await untilCaptured(cluster, app);
    for (const node of nodes)
      await vi.waitFor(() => app.callFrom(node, 'http://web/', 8), { timeout: 20_000 });
  });
  afterAll(async () => await app.remove());

  async function startLoad(): Promise<void> {
    for (const node of nodes) await app.agent(node).call('startLoad', { ...load, ...pace });
    onTestFinished(async () => void (await Promise.allSettled(nodes.map(stopLoad))));
  }
  const stopLoad = (node: string) => app.agent(node).call('stopLoad', load.id);

  /** So many more connections from each node have succeeded. */
  async function more(count: number): Promise<void> {
    for (const node of nodes) {
      const progress = async () => (await app.agent(node).call('loadProgress', load.id)).succeeded;
      const before = await progress();
      await expect.poll(progress, { timeout: 30_000, interval: 200 }).toBeGreaterThan(before + count);
    }
  }

  /** But for what an application took along that ended, at most one connection of each client. */
  async function expectNothingLost({
    applicationEnded,
  }: {
    readonly applicationEnded: boolean;
  }): Promise<void> {
    for (const node of nodes) {
      const { failed, afterMark, errors } = await stopLoad(node);
      expect({ node, afterMark: afterMark.failed }, JSON.stringify(errors)).toEqual({ node, afterMark: 0 });
      expect(failed, JSON.stringify(errors)).toBeLessThanOrEqual(applicationEnded ? pace.concurrency : 0);
    }
  }

  async function replicas(count: number): Promise<void> {
    const name = 'deployment/weft-controller';
    await kubectl.ok(['scale', '-n', meshNamespace, name, `--replicas=${count}`]);
    const gone = ['pod', '-n', meshNamespace, '-l', 'app.kubernetes.io/name=weft-controller'];
    if (count === 0) await kubectl.ok(['wait', '--for=delete', ...gone, '--timeout=60s']);
    else await kubectl.rolledOut(meshNamespace, name, 90);
  }

  /** The application's pod of a node is gone when it resolves; the one in its place waits for a controller. */
  async function deletePod(node: string): Promise<void> {
    const selector = ['-l', 'app=web', '--field-selector', `spec.nodeName=${node}`];
    await kubectl.ok(['delete', 'pod', '-n', namespace, ...selector, '--timeout=60s']);
    for (const each of nodes) await app.agent(each).call('markLoad', load.id);
  }

  test('controllers are away while a pod ends: no connection fails, and the one in its place serves afterwards', {
    timeout: 240_000,
  }, async () => {
    await startLoad();
    await more(50);
    await replicas(0);
    try {
      await more(50);
      await deletePod(nodes[0] ?? '');
      await more(50);
    } finally {
      await replicas(2);
    }
    await kubectl.rolledOut(namespace, 'deployment/web', 90);
    await untilCaptured(cluster, app);
    const everyPodAnswers = async () => {
      const web = (await app.podNames()).filter((name) => name.startsWith('web-'));
      for (const node of nodes) {
        const answers = await app.callFrom(node, 'http://web/', 16);
        expect([...new Set(answers.map(({ pod }) => pod))].toSorted()).toEqual(web);
      }
    };
    await vi.waitFor(everyPodAnswers, { timeout: 30_000 });
    await more(50);
    await expectNothingLost({ applicationEnded: true });
  });

  test.each(['containerd', 'kubelet'] as const)('a kill of %s costs no connection', async (service) => {
    await startLoad();
    await more(50);
    for (const node of nodes) await cluster.restartService(node, service);
    await vi.waitFor(() => more(50), { timeout: 60_000 });
    await vi.waitFor(() => untilCaptured(cluster, app), { timeout: 30_000 });
    await expectNothingLost({ applicationEnded: false });
  });
});
