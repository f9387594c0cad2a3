// Kinds of Services and of programs that a mesh is easily in the way of: headless Services, names of a StatefulSet's pods,
// session affinity, servers that speak first, UDP, servers on the loopback address.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { AgentError } from '../../lab/agent.ts';
import { appContainer, appService } from '../app-manifests.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh } from '../mesh-installation.ts';
import { untilCaptured } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'kinds';
const names = nodes.map((_, index) => `db-${index}`);

/** One replica on each node, behind a headless Service of the same name. */
const statefulSet = {
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'db', namespace },
  spec: {
    serviceName: 'db',
    replicas: nodes.length,
    podManagementPolicy: 'Parallel',
    selector: { matchLabels: { app: 'db' } },
    template: {
      metadata: { labels: { app: 'db' } },
      spec: {
        terminationGracePeriodSeconds: 2,
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'kubernetes.io/hostname',
            whenUnsatisfiable: 'DoNotSchedule',
            labelSelector: { matchLabels: { app: 'db' } },
          },
        ],
        containers: [appContainer()],
      },
    },
  },
};
const headless = appService(
  { name: 'db', namespace },
  { clusterIP: 'None', selector: { app: 'db' }, ports: [{ name: 'http', port: 8080 }] },
);
const sticky = appService({ name: 'sticky', namespace }, { sessionAffinity: 'ClientIP' });

describe('in a captured namespace', () => {
  const app = appNamespace(cluster, namespace);
  let pods: readonly { readonly name: string; readonly address: string }[];

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create({ labels: { 'weft.dev/mode': 'ambient' } });
    const objects = [statefulSet, headless, sticky];
    await kubectl.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
    await kubectl.rolledOut(namespace, 'statefulset/db');
    await untilCaptured(cluster, app);
    pods = await webPods();
    const reached = async () => {
      for (const node of nodes) {
        await app.callFrom(node, 'http://web/', 4);
        for (const name of names) await app.callFrom(node, `http://${name}.db:8080/`);
      }
    };
    await vi.waitFor(reached, { timeout: 30_000 });
  });
  afterAll(async () => await app.remove());

  async function webPods(): Promise<typeof pods> {
    interface Pod {
      readonly metadata: { readonly name: string };
      readonly status: { readonly podIP: string };
    }
    const { items } = await kubectl.json<{ items: Pod[] }>(['get', 'pods', '-n', namespace, '-l', 'app=web']);
    return items.map(({ metadata, status }) => ({ name: metadata.name, address: status.podIP }));
  }

  test('a StatefulSet’s pods are reached by their names, each by its own', async () => {
    for (const node of nodes)
      for (const name of names) {
        const answers = await app.callFrom(node, `http://${name}.db.${namespace}.svc.cluster.local:8080/`, 8);
        expect(new Set(answers.map(({ pod }) => pod))).toEqual(new Set([name]));
      }
  });

  test('a headless Service resolves to the pods, and they answer', async () => {
    for (const node of nodes) {
      expect(await app.agent(node).call('resolve', 'db')).toHaveLength(names.length);
      const answers = await app.callFrom(node, 'http://db:8080/', 8);
      expect(names).toEqual(expect.arrayContaining(answers.map(({ pod }) => pod)));
    }
  });

  test('session affinity by ClientIP is not kept: the mesh balances', async () => {
    const [node = ''] = nodes;
    const answers = await app.callFrom(node, 'http://sticky/', 32);
    expect(new Set(answers.map(({ pod }) => pod)).size).toBe(nodes.length);
  });

  test('a server that speaks first is heard at once, at every node', async () => {
    for (const node of nodes)
      for (const { name, address } of pods) {
        const agent = app.agent(node);
        const id = `banner-${name}`;
        await agent.call('open', { id, host: address, port: 9092 });
        expect(await agent.call('exchange', { id, text: 'quit' })).toBe(`220 ${name} ready`);
        await agent.call('close', id);
      }
  });

  test('UDP is left alone, to a pod and to a Service', async () => {
    for (const node of nodes) {
      const agent = app.agent(node);
      for (const { name, address } of pods)
        expect(await agent.call('udp', { host: address, port: 9091, text: 'hello' })).toBe(`${name} hello`);
      const ofService = await agent.call('udp', { host: 'web', port: 9091, text: 'hello' });
      expect(pods.map(({ name }) => `${name} hello`)).toContain(ofService);
    }
  });

  test('a server on the loopback address stays the pod’s own', async () => {
    for (const node of nodes)
      for (const { name, address } of pods) {
        const argv = ['/bin/wget', '-qO-', 'http://127.0.0.1:8081/'];
        expect((await kubectl.exec(`${namespace}/${name}`, argv)).stdout).toContain(name);
        const [outcome] = await app.outcomes(node, `http://${address}:8081/`);
        expect(outcome).toEqual({ error: expect.stringMatching(/^ECONNRE(SET|FUSED)$|^EOF$/) as string });
      }
  });

  test('a connection that is silent, and one that says something now and then, both last', async () => {
    const [node = ''] = nodes;
    const agent = app.agent(node);
    for (const { name, address } of pods) await agent.call('open', { id: name, host: address, port: 9090 });
    const [talking, silent] = pods.map(({ name }) => name) as [string, string];
    const until = performance.now() + 8_000;
    while (performance.now() < until)
      expect(await agent.call('exchange', { id: talking, text: 'still' })).toBe('still');
    expect(await agent.call('exchange', { id: silent, text: 'at last' })).toBe('at last');
    for (const { name } of pods) await agent.call('close', name);
    await expect(agent.call('state', silent)).rejects.toThrow(AgentError);
  });
});
