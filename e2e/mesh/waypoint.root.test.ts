// A waypoint between two nodes, every program a process of its own: connections are led to it and go on from it, routes
// apply, one of two may end under load, and nobody gets past it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { callApi, failure } from './calls.ts';
import {
  apiPort,
  echoPort,
  MeshLab,
  type MeshPod,
  namespaceObject,
  podObject,
  policyObject,
  serviceObject,
} from './mesh-lab.ts';

const timeout = 60_000;
const apiAddress = '10.96.0.30';
const canaryAddress = '10.96.0.31';
const behindGate = { 'weft.dev/waypoint': 'gate' };
const throughGate =
  /connection complete.*dst\.service="api\.shop\.svc\.cluster\.local" dst\.workload="gate-[12]"/;

describe.skipIf(skipKernelTests)(`a waypoint in the mesh${skipReason}`, () => {
  let mesh: MeshLab;
  let web: MeshPod;
  let api: MeshPod;
  let stranger: MeshPod;
  let gates: readonly MeshPod[];

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshway',
      pods: [
        { name: 'web', app: 'web', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-2' },
        { name: 'canary', app: 'canary', node: 'node-1' },
        { name: 'gate-1', app: 'gate', node: 'node-1', waypoint: true },
        { name: 'gate-2', app: 'gate', node: 'node-2', waypoint: true },
        { name: 'stranger', app: 'stranger', node: 'node-1', namespace: 'outside' },
      ],
    });
    [web, api, stranger] = ['web', 'api', 'stranger'].map((name) => mesh.pod(name)) as [
      MeshPod,
      MeshPod,
      MeshPod,
    ];
    gates = ['gate-1', 'gate-2'].map((name) => mesh.pod(name));
    mesh.apply('service-api', serviceObject('api', apiAddress));
    mesh.apply('service-canary', serviceObject('canary', canaryAddress));
    await eventually('answered: the service', async () => await callApi(web, apiAddress));
    await Promise.all(gates.map((pod) => mesh.startWaypoint(pod)));
  }, 120_000);

  afterAll(async () => {
    await mesh?.close();
  });

  function label(labels: object): void {
    mesh.apply('namespace', namespaceObject('shop', true, labels));
  }

  /** The first connection since `from` that the client's node led to the waypoint. */
  async function ledToGate(from: number): Promise<string> {
    return await mesh.tunnel('node-1').log.waitFor(throughGate, { from });
  }

  async function startLoad(kind: 'connections' | 'requests', host = apiAddress): Promise<void> {
    await web.agent.call('startLoad', { id: 'load', kind, host, port: apiPort, concurrency: 4 });
  }

  async function moreLoad(count: number): Promise<void> {
    const { succeeded } = await web.agent.call('loadProgress', 'load');
    await eventually('more traffic', async () =>
      (await web.agent.call('loadProgress', 'load')).succeeded > succeeded + count ? true : undefined,
    );
  }

  test('a label leads a namespace through it under load: no connection fails, and the server still answers', {
    timeout,
  }, async () => {
    const { log } = mesh.tunnel('node-1');
    const from = log.mark();
    await startLoad('connections');
    await moreLoad(50);
    label(behindGate);
    await ledToGate(from);
    await moreLoad(100);
    expect(await web.agent.call('stopLoad', 'load')).toMatchObject({ failed: 0, errors: {} });
    expect((await callApi(web, apiAddress)).pod).toBe('api');
    // By the pod's own address it is the same way.
    const again = log.mark();
    expect((await callApi(web, api.v4)).pod).toBe('api');
    const byPod = `connection complete.*dst\\.hbone_addr=${api.v4}:${apiPort} dst\\.workload="gate-[12]"`;
    await log.waitFor(new RegExp(byPod), { from: again });
  });

  test('a TCP port goes through it too, and stays open while things change', { timeout }, async () => {
    await web.agent.call('open', { id: 'held', host: apiAddress, port: echoPort });
    expect(await web.agent.call('exchange', { id: 'held', text: 'there' })).toBe('there');
    const connections = await mesh.connections('node-1');
    const led = connections.find(({ pod, dst }) => pod === 'shop/web' && dst === `${apiAddress}:${echoPort}`);
    expect(led).toMatchObject({ direction: 'outbound', protocol: 'HBONE' });
    label({ ...behindGate, 'weft.dev/waypoint-missing': 'l4-only' });
    label(behindGate);
    expect(await web.agent.call('exchange', { id: 'held', text: 'and back' })).toBe('and back');
    await web.agent.call('close', 'held');
  });

  test('each hop is counted once: client to waypoint, requests at it, waypoint to server', {
    timeout,
  }, async () => {
    const ofWeb = 'source_workload="web"';
    const counts = async () => {
      const [client, server, ...waypoints] = await Promise.all([
        mesh.ask('node-1', 15020, '/metrics'),
        mesh.ask('node-2', 15020, '/metrics'),
        ...gates.map(({ agent }) =>
          agent.call('http', { host: '127.0.0.1', port: 15020, path: '/metrics', timeoutMs: 5_000 }),
        ),
      ]);
      const opened = (text: string, ...labels: string[]) =>
        sumOf(text, 'istio_tcp_connections_opened_total', ...labels);
      const requests = waypoints.map(({ body }) =>
        sumOf(body, 'istio_requests_total', 'reporter="waypoint"', ofWeb, 'destination_workload="api"'),
      );
      return {
        toGate: opened(client.body, 'reporter="source"', ofWeb, 'destination_workload="gate'),
        toApi: opened(client.body, 'reporter="source"', ofWeb, 'destination_workload="api"'),
        fromWeb: opened(server.body, 'reporter="destination"', ofWeb, 'destination_workload="api"'),
        fromGate: opened(server.body, 'source_workload="gate', 'destination_workload="api"'),
        requests: requests.reduce((sum, count) => sum + count, 0),
      };
    };
    const before = await counts();
    for (let i = 0; i < 10; i++) await callApi(web, apiAddress);
    const after = await counts();
    expect(after.toGate - before.toGate).toBe(10);
    expect(after.requests - before.requests).toBe(10);
    expect(after.toApi - before.toApi).toBe(0);
    expect(after.fromWeb - before.fromWeb).toBe(0);
    // The waypoint's own connections are shared by requests.
    expect(after.fromGate).toBeGreaterThan(0);
  });

  test('an HTTPRoute leads to another Service, for the Service that has it only', { timeout }, async () => {
    mesh.apply('route', {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'canary', namespace: 'shop' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'api' }],
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/canary' } }],
            backendRefs: [{ name: 'canary', port: apiPort }],
          },
          { backendRefs: [{ name: 'api', port: apiPort }] },
        ],
      },
    });
    await eventually('routed: /canary', async () =>
      (await callApi(web, apiAddress, '/canary/x')).pod === 'canary' ? true : undefined,
    );
    expect((await callApi(web, apiAddress, '/')).pod).toBe('api');
    // A pod's own address has no routes.
    expect((await callApi(web, api.v4, '/canary/x')).pod).toBe('api');
    mesh.remove('route');
  });

  test('policies see the client behind it, by Service and by pod address', { timeout }, async () => {
    mesh.apply(
      'policy',
      policyObject('no-web', {
        selector: { matchLabels: { app: 'api' } },
        action: 'DENY',
        rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/web'] } }] }],
      }),
    );
    for (const host of [apiAddress, api.v4])
      await eventually(`denied: ${host}`, async () => {
        const answer = await web.agent.call('http', { host, port: apiPort, path: '/', timeoutMs: 5_000 });
        return answer.status === 403 ? true : undefined;
      });
    expect((await callApi(mesh.pod('canary'), apiAddress)).pod).toBe('api');
    mesh.remove('policy');
    await eventually('allowed again: web', async () => await callApi(web, apiAddress));
  });

  test.each([
    ['connections of one request', 'connections'],
    ['kept connections', 'requests'],
  ] as const)(
    'one of two that ends in order under load fails no request: %s',
    { timeout },
    async (_what, kind) => {
      await startLoad(kind);
      await moreLoad(100);
      expect(await mesh.waypoint('gate-1').stop()).toBe(0);
      await moreLoad(200);
      expect(await web.agent.call('stopLoad', 'load')).toMatchObject({ failed: 0, errors: {} });
      await mesh.startWaypoint(mesh.pod('gate-1'));
    },
  );

  test('a killed one costs no connection that comes after it', { timeout }, async () => {
    await startLoad('connections');
    await moreLoad(100);
    await mesh.waypoint('gate-2').stop('SIGKILL');
    await web.agent.call('markLoad', 'load');
    await moreLoad(200);
    const { afterMark, failed } = await web.agent.call('stopLoad', 'load');
    expect(afterMark.failed).toBe(0);
    // What was in it at that moment is lost with it: one connection of each client at most.
    expect(failed).toBeLessThanOrEqual(4);
    await mesh.startWaypoint(mesh.pod('gate-2'));
  });

  test('the destination refuses whoever is not its waypoint', { timeout }, async () => {
    const { log } = mesh.tunnel('node-2');
    const from = log.mark();
    expect(await failure(stranger, api.v4)).toBe('ECONNRESET');
    await log.waitFor(
      /connection failed.*workload api is reached through its waypoint gate\.shop\.svc\.cluster\.local only/,
      { from },
    );
  });

  test('without a ready one traffic is refused with the reason, or goes on where l4-only says so', {
    timeout,
  }, async () => {
    const { log } = mesh.tunnel('node-1');
    const from = log.mark();
    for (const { name } of gates) mesh.remove(`pod-${name}`);
    await eventually('refused: web', async () =>
      (await failure(web, apiAddress)) === 'ECONNRESET' ? true : undefined,
    );
    await log.waitFor(
      /connection failed.*service api\.shop\.svc\.cluster\.local is reached through waypoint gate\.shop\.svc\.cluster\.local only, which has no ready endpoint.*response_flags="UH"/,
      { from },
    );
    label({ ...behindGate, 'weft.dev/waypoint-missing': 'l4-only' });
    const direct = await eventually('direct: web', async () => await callApi(web, apiAddress));
    expect(direct).toMatchObject({ pod: 'api', client: web.v4 });
    for (const pod of gates) mesh.apply(`pod-${pod.name}`, podObject(pod));
    const again = log.mark();
    await eventually('led to the waypoint again', async () => {
      await callApi(web, apiAddress);
      return log.lines(again).some((line) => throughGate.test(line)) ? true : undefined;
    });
    label(behindGate);
  });
});

/** Sum of the samples of a metric that have all these labels, or beginnings of them. */
function sumOf(text: string, metric: string, ...labels: string[]): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${metric}{`) || !labels.every((label) => line.includes(label))) continue;
    sum += Number(line.slice(line.lastIndexOf(' ')));
  }
  return sum;
}
