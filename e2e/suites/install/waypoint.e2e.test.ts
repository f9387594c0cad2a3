import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { gatewayApi, installGatewayApi, installWaypoint } from '../gateway-api.ts';
import { installMesh } from '../mesh-installation.ts';
import { capturedPods } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;
const namespace = 'routed';

const route = {
  apiVersion: gatewayApi,
  kind: 'HTTPRoute',
  metadata: { name: 'web', namespace },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: '/marked' } }],
        filters: [
          {
            type: 'RequestHeaderModifier',
            requestHeaderModifier: { set: [{ name: 'x-route', value: 'marked' }] },
          },
        ],
        backendRefs: [{ name: 'web', port: 80 }],
      },
    ],
  },
};

describe('a waypoint in a cluster', () => {
  const app = appNamespace(cluster, namespace);

  beforeAll(async () => {
    await installGatewayApi(cluster);
    await installMesh(cluster);
    await app.create({ labels: { 'weft.dev/mode': 'ambient' } });
    const captured = async () => expect(await capturedPods(cluster, namespace)).toEqual(await app.podNames());
    await vi.waitFor(captured, { timeout: 20_000, interval: 200 });
  });
  afterAll(async () => {
    await app.remove();
  });

  test('runs from the image of the mesh as soon as its Gateway is there, and says so', async () => {
    await installWaypoint(cluster, namespace);
  });

  test('applies a route to every request of every node', async () => {
    await app.label('weft.dev/waypoint=gate');
    await kubectl.apply(JSON.stringify(route));
    const mark = async (node: string) =>
      (await app.callFrom(node, 'http://web/marked', 4)).map(({ headers }) => headers['x-route']);
    for (const node of cluster.nodes) {
      await expect.poll(() => mark(node), { timeout: 20_000 }).toEqual(Array(4).fill('marked'));
      const answers = await app.callFrom(node, 'http://web/marked', 32);
      expect(answers.filter(({ headers }) => headers['x-route'] !== 'marked')).toEqual([]);
      expect(new Set(answers.map((answer) => answer.node))).toEqual(new Set(cluster.nodes));
    }
  });
});
