// Connections that end before or otherwise than both sides wanted: who gave up, what was gone, and what the logs say.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { makeService, vip } from '../mesh/model/fixture.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import {
  connectFrom,
  echo,
  ending,
  FullQueue,
  limitMs,
  readAll,
  roundTrip,
  serve,
} from './testing/pod-sockets.ts';

const slowPort = 8080;
const echoPort = 9_000;
const address = '10.96.0.40';
const service = makeService('shop', 'api.shop.svc.cluster.local', {
  addresses: [vip(address)],
  ports: [slowPort, echoPort].map((port) => ({
    name: `p${port}`,
    servicePort: port,
    targetPort: port,
    appProtocol: 'unknown',
  })),
});
const wentAway = /connection failed.*the client went away before the connection was made/;

describe.skipIf(skipKernelTests)(`how connections end${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let stranger: RigPod;
  let api: RigPod;

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client');
    stranger = await rig.addPod('stranger', { enrolled: false });
    api = await rig.addPod('api', { node: 'node-2', workload: { services: new Map([[service.key, []]]) } });
    await rig.apply({ services: [service] });
  });

  afterEach(async () => {
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  afterAll(async () => {
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  /** Resolves when the pod's node has so many connections; with a FullQueue, one that dials the application. */
  async function connections({ node }: RigPod, count = 1): Promise<void> {
    await expect
      .poll(async () => (await node.connections()).length, { timeout: limitMs, interval: 10 })
      .toBe(count);
  }

  it('gives up the dial on both nodes as soon as the client resets', async () => {
    await using _slow = new FullQueue(api, slowPort);
    const [here, there] = [client.node.log.length, api.node.log.length];
    const socket = connectFrom(client, address, slowPort);
    await connections(api);
    socket.resetAndDestroy();
    await client.node.logLine(wentAway, here);
    await api.node.logLine(wentAway, there);
  });

  it('gives up the dial of a plaintext caller that resets', async () => {
    await using _slow = new FullQueue(api, slowPort);
    const from = api.node.log.length;
    const socket = connectFrom(stranger, api.ipv4, slowPort);
    await connections(api);
    socket.resetAndDestroy();
    await api.node.logLine(wentAway, from);
  });

  it.each([
    ['a captured client', () => client],
    ['a plaintext caller', () => stranger],
  ])('serves %s that has sent all it had, and ended, before the application accepted', async (_who, from) => {
    await using slow = new FullQueue(api, slowPort);
    const socket = connectFrom(from(), api.ipv4, slowPort);
    socket.end('all of it');
    await connections(api);
    slow.accept();
    expect((await readAll(socket)).toString()).toBe('all of it');
  });

  it('flags no denial when the pod goes, on neither side', async () => {
    const doomed = await rig.addPod('doomed', { node: 'node-2' });
    await using _app = serve(doomed, echoPort, echo);
    const socket = connectFrom(client, doomed.ipv4, echoPort);
    expect(await roundTrip(socket)).toBe('ping');
    const [here, there] = [client.node.log.length, api.node.log.length];
    await rig.release(doomed, 'now');
    expect(await ending(socket)).toBe('ECONNRESET');
    const inbound = await api.node.logLine(/connection complete.*the pod is gone/, there);
    const outbound = await client.node.logLine(/connection complete.*dst\.workload="doomed"/, here);
    for (const line of [inbound, outbound]) expect(line).not.toContain('DENY');
  });

  it('waits for a node tunnel that is away: a connection to its pods is made once it is back', async () => {
    const restarted = await rig.addPod('restarted', { node: 'node-2' });
    await using _app = serve(restarted, echoPort, echo);
    // As when the process ends: the program stays in the pod, the listeners are gone.
    restarted.node.post({ kind: 'pod-removed', uid: restarted.workload.uid, how: 'now' });
    await restarted.node.connections();
    const socket = connectFrom(client, restarted.ipv4, echoPort);
    await connections(client);
    await rig.capture(restarted);
    expect(await roundTrip(socket)).toBe('ping');
    socket.destroy();
  });

  it('resolves again when a shared tunnel broke under a connection: the endpoint may be gone', async () => {
    const first = await rig.addPod('first', { node: 'node-2' });
    const second = await rig.addPod('second', { node: 'node-2' });
    const moving = makeService('shop', 'moving', { addresses: [vip('10.96.0.41')], ports: service.ports });
    const serving = { services: new Map([[moving.key, []]]) };
    await rig.apply({ services: [moving], workloads: [{ ...first.workload, ...serving }] });
    await using _echo = serve(first, echoPort, echo);
    await using _slow = new FullQueue(first, slowPort);
    await using _other = serve(second, slowPort, (socket) => socket.end('the second'));
    const warm = connectFrom(client, '10.96.0.41', echoPort);
    expect(await roundTrip(warm)).toBe('ping');
    const socket = connectFrom(client, '10.96.0.41', slowPort);
    await connections(first, 2);
    await rig.apply({
      workloads: [{ ...second.workload, ...serving }],
      removed: { workloads: [first.workload.uid] },
    });
    await rig.release(first, 'now');
    expect((await readAll(socket)).toString()).toBe('the second');
    for (const each of [warm, socket]) each.destroy();
  });
});
