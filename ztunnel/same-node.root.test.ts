// The same-node path on real traffic: that it is taken, when it is not, what is told about it, and that a change takes
// it back. Whether a connection went past the proxy shows in who carries it. Two data workers, as pairs are learnt from all.

import type net from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { makePolicy, makeService, vip } from '../mesh/model/fixture.ts';
import { defaultMeshConfig, type MeshConfig } from '../mesh/model/mesh-config.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { SameNode } from './same-node.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import {
  connectFrom,
  echo,
  ending,
  type PodServer,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';
import { fromAccount, fromNobody } from './testing/rules.ts';

const port = 8080;
const address = '10.96.0.20';
const service = makeService('shop', 'api.shop.svc.cluster.local', {
  addresses: [vip(address)],
  ports: [{ name: 'http', servicePort: 80, targetPort: port, appProtocol: 'unknown' }],
});
const denyWeb = makePolicy('shop', 'no-web', { action: 'deny', rules: [fromAccount('web', 'web')] });
const strict = makePolicy('shop', 'strict', { action: 'deny', rules: [fromNobody] });
const auditWeb = makePolicy('shop', 'audit-web', { action: 'audit', rules: [fromAccount('web', 'web')] });
const onlyWeb = makePolicy('shop', 'only-web', { rules: [fromAccount('web', 'web')] });

const inKernel: MeshConfig = { ...defaultMeshConfig, sameNode: 'kernel' };

describe.skipIf(skipKernelTests)(`the same-node path${skipReason}`, () => {
  let rig: DataPlaneRig;
  let sameNode: SameNode;
  let web: RigPod;
  let batch: RigPod;
  let api1: RigPod;
  let api2: RigPod;
  let far: RigPod;
  let servers: PodServer[];
  let opened: net.Socket[];

  beforeAll(async () => {
    rig = await DataPlaneRig.open({ workers: 2 }, { sameNode: true });
    sameNode = rig.node('node-1').sameNode as SameNode;
    web = await rig.addPod('web');
    batch = await rig.addPod('batch');
    const workload = { services: new Map([[service.key, []]]) };
    api1 = await rig.addPod('api-1', { workload, serviceAccount: 'api' });
    api2 = await rig.addPod('api-2', { workload, serviceAccount: 'api' });
    far = await rig.addPod('far', { node: 'node-2', serviceAccount: 'api' });
    servers = [api1, api2, far].map((pod) => serve(pod, port, echo));
    await rig.apply({ services: [service], policies: [strict], meshConfig: inKernel });
  });

  beforeEach(() => {
    opened = [];
  });

  afterEach(async () => {
    for (const socket of opened) socket.destroy();
    await rig.apply({
      services: [service],
      meshConfig: inKernel,
      workloads: [web, batch, api1, api2, far].map(({ workload }) => workload),
      removed: { policies: [denyWeb.key, auditWeb.key, onlyWeb.key] },
    });
    await Promise.all(rig.nodes.map((node) => node.idle()));
    await flowsAre(0);
  });

  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  async function flowsAre(count: number): Promise<void> {
    await expect.poll(() => sameNode.connections(1_000).length / 2, { timeout: 10_000 }).toBe(count);
  }

  /** An echo connection; `direct` if no proxy carries it. */
  async function talk(
    from: RigPod,
    host: string,
    to: number,
  ): Promise<{ socket: net.Socket; direct: boolean }> {
    const socket = connectFrom(from, host, to);
    opened.push(socket);
    expect(await roundTrip(socket)).toBe('ping');
    const proxied = await from.node.connections();
    return { socket, direct: !proxied.some(({ src }) => src.endsWith(`:${socket.localPort}`)) };
  }

  async function isDirect(from: RigPod, host: string, to: number): Promise<boolean> {
    const { socket, direct } = await talk(from, host, to);
    socket.destroy();
    await from.node.idle();
    return direct;
  }

  /** Connects until the path is taken, and gives back how many times the proxy carried it before. */
  async function becomesDirect(from: RigPod, host: string, to: number): Promise<number> {
    for (let proxied = 0; proxied < 200; proxied++) if (await isDirect(from, host, to)) return proxied;
    throw new Error(`${from.name} never reached ${host} directly`);
  }

  async function staysProxied(from: RigPod, host: string, to: number): Promise<void> {
    for (let i = 0; i < 12; i++) expect(await isDirect(from, host, to)).toBe(false);
  }

  it('is taken after the first connection, for the pod that was authorised and the destination it named', async () => {
    expect(await becomesDirect(web, api1.ipv4, port)).toBeGreaterThan(0);
    expect(await isDirect(web, api2.ipv4, port)).toBe(false);
    expect(await isDirect(batch, api1.ipv4, port)).toBe(false);
    expect(await isDirect(web, far.ipv4, port)).toBe(false);
    await becomesDirect(web, api1.ipv6, port);
  });

  it('is taken after connections that different data workers carried', async () => {
    const carriers = new Set<number>();
    for (let i = 0; carriers.size < 2 && i < 100; i++) {
      await rig.apply({ meshConfig: defaultMeshConfig });
      const { socket } = await talk(web, api1.ipv4, port);
      const held = await Promise.all(web.node.workers.map((worker) => worker.connections()));
      carriers.add(held.findIndex((list) => list.some(({ src }) => src.endsWith(`:${socket.localPort}`))));
      socket.destroy();
    }
    expect(carriers).toEqual(new Set([0, 1]));
    await rig.apply({ meshConfig: inKernel });
    await becomesDirect(web, api1.ipv4, port);
  });

  it('is taken for a Service once all of its endpoints were reached, and uses them all', async () => {
    await becomesDirect(web, address, 80);
    const before = [servers[0]?.accepted.length ?? 0, servers[1]?.accepted.length ?? 0];
    for (let i = 0; i < 40; i++) expect(await isDirect(web, address, 80)).toBe(true);
    expect((servers[0]?.accepted.length ?? 0) - (before[0] ?? 0)).toBeGreaterThan(0);
    expect((servers[1]?.accepted.length ?? 0) - (before[1] ?? 0)).toBeGreaterThan(0);
  });

  it.each<[string, Partial<Service>]>([
    ['a waypoint', { waypoint: waypointAt('waypoint.shop.svc.cluster.local') }],
    ['a TrafficPolicy', { trafficPolicy: { key: 'shop/turn', balancing: 'round-robin' } }],
  ])('is not taken for a Service with %s', async (_what, change) => {
    await becomesDirect(web, address, 80);
    await rig.apply({ services: [{ ...service, ...change, waypointMissing: 'l4-only' }] });
    await staysProxied(web, address, 80);
  });

  it('is not taken for a Service with an endpoint on another node', async () => {
    await becomesDirect(web, address, 80);
    await rig.apply({ workloads: [{ ...far.workload, services: new Map([[service.key, []]]) }] });
    await staysProxied(web, address, 80);
  });

  it('is not taken where an AUDIT policy matches, which goes on to report', async () => {
    await becomesDirect(web, api1.ipv4, port);
    await rig.apply({ policies: [auditWeb] });
    const from = web.node.log.length;
    await staysProxied(web, api1.ipv4, port);
    await web.node.logLine(/policy audit.*shop\/audit-web/, from);
  });

  it('is off where MeshConfig says proxy, or the label of either pod, and on again after', async () => {
    await becomesDirect(web, api1.ipv4, port);
    await rig.apply({ meshConfig: defaultMeshConfig });
    await staysProxied(web, api1.ipv4, port);
    await rig.apply({ meshConfig: inKernel });
    await becomesDirect(web, api1.ipv4, port);
    for (const pod of [web, api1]) {
      await rig.apply({ pods: [{ ...rig.nodePod(pod), sameNode: 'proxy' }] });
      await staysProxied(web, api1.ipv4, port);
      await rig.apply({ removed: { pods: [pod.workload.uid] } });
    }
    await becomesDirect(web, api1.ipv4, port);
  });

  it('is not taken by or to a pod without a valid certificate', async () => {
    for (const pod of [web, api1]) {
      web.node.unidentified.add(pod.workload.uid);
      sameNode.changed();
      await staysProxied(web, api1.ipv4, port);
      web.node.unidentified.delete(pod.workload.uid);
      sameNode.changed();
      await becomesDirect(web, api1.ipv4, port);
    }
  });

  it('resets what a policy forbids, with the reason in both lines, and leaves the rest alone', async () => {
    await becomesDirect(web, api1.ipv4, port);
    await becomesDirect(batch, api1.ipv4, port);
    const forbidden = await talk(web, api1.ipv4, port);
    const allowed = await talk(batch, api1.ipv4, port);
    expect([forbidden.direct, allowed.direct]).toEqual([true, true]);
    const from = web.node.log.length;
    const end = ending(forbidden.socket);
    await rig.apply({ policies: [denyWeb] });
    expect(await end).toBe('ECONNABORTED');
    expect(await roundTrip(allowed.socket)).toBe('ping');
    const said = (direction: string) =>
      new RegExp(`direction="${direction}".*denied by policy shop/no-web rule web.*response_flags="DENY"`);
    await web.node.logLine(said('outbound'), from);
    await web.node.logLine(said('inbound'), from);
    expect(await ending(connectFrom(web, api1.ipv4, port))).toBe('ECONNRESET');
    allowed.socket.destroy();
  });

  it('lets nothing new through from the moment a policy is applied', async () => {
    await becomesDirect(batch, api1.ipv4, port);
    const accepted = servers[0]?.accepted.length;
    await rig.apply({ policies: [onlyWeb] });
    for (let i = 0; i < 20; i++) expect(await ending(connectFrom(batch, api1.ipv4, port))).toBe('ECONNRESET');
    expect(servers[0]?.accepted.length).toBe(accepted);
  });

  it('fails no connection while the mesh changes all the time, and comes back each time', async () => {
    await becomesDirect(web, api1.ipv4, port);
    let changing = true;
    const change = async (): Promise<void> => {
      for (let i = 0; changing; i++)
        await rig.apply({ workloads: [{ ...batch.workload, capacity: 1 + (i % 2) }] });
    };
    const changes = change();
    for (let i = 0; i < 300; i++) {
      const socket = connectFrom(web, api1.ipv4, port);
      expect(await roundTrip(socket)).toBe('ping');
      socket.destroy();
    }
    changing = false;
    await changes;
    await becomesDirect(web, api1.ipv4, port);
    expect(sameNode.state().refused).toBe(0);
  });

  it('stays while pods of other nodes come, change and go, and services are untouched', async () => {
    await becomesDirect(web, api1.ipv4, port);
    await becomesDirect(web, address, 80);
    const { socket } = await talk(web, api1.ipv4, port);
    for (let i = 0; i < 10; i++) {
      const uid = `Kubernetes//Pod/shop/other-${i}` as WorkloadUid;
      const other = { ...far.workload, uid, addresses: ['10.77.9.9' as IpAddress], services: new Map() };
      await rig.apply({ workloads: [other, { ...far.workload, capacity: 1 + (i % 2) }] });
      expect(await isDirect(web, api1.ipv4, port)).toBe(true);
      await rig.apply({ removed: { workloads: [uid] } });
      expect(await isDirect(web, address, 80)).toBe(true);
    }
    expect(await roundTrip(socket)).toBe('ping');
  });

  it('goes when a pod is released, and its open flows with the pod', async () => {
    const gone = await rig.addPod('gone');
    const server = serve(gone, port, echo);
    await becomesDirect(web, gone.ipv4, port);
    const { socket, direct } = await talk(web, gone.ipv4, port);
    expect(direct).toBe(true);
    const end = ending(socket);
    await rig.release(gone, 'now');
    expect(await end).toBe('ECONNABORTED');
    await server[Symbol.asyncDispose]();
    await rig.apply({ removed: { workloads: [gone.workload.uid] } });
  });

  it('falls back to the proxy for a while when a connect fails', async () => {
    const flaky = await rig.addPod('flaky');
    const server = serve(flaky, port, echo);
    await becomesDirect(web, flaky.ipv4, port);
    await server[Symbol.asyncDispose]();
    expect(await ending(connectFrom(web, flaky.ipv4, port))).toMatch(/ECONNREFUSED/);
    await expect
      .poll(() => {
        sameNode.drain();
        return web.node.log.some((line) => line.includes('the application refused, or did not answer'));
      })
      .toBe(true);
    const again = serve(flaky, port, echo);
    expect(await isDirect(web, flaky.ipv4, port)).toBe(false);
    await again[Symbol.asyncDispose]();
    await rig.release(flaky, 'now');
    await rig.apply({ removed: { workloads: [flaky.workload.uid] } });
  });

  it('is counted and logged as the proxied are, and shown while it is open', async () => {
    await becomesDirect(web, address, 80);
    await flowsAre(0);
    const from = web.node.log.length;
    const totals = () =>
      web.node.report.metrics().series.filter(({ labels }) => labels.includes('source_workload="web"'));
    const before = totals().map((series) => ({ ...series }));
    const { socket } = await talk(web, address, 80);
    await flowsAre(1);
    expect(sameNode.connections(10)).toMatchObject([
      { pod: 'shop/web', direction: 'outbound', protocol: 'KERNEL', src: `${web.ipv4}:${socket.localPort}` },
      { direction: 'inbound', protocol: 'KERNEL' },
    ]);
    socket.end();
    const line = await web.node.logLine(/direction="outbound".*bytes_sent=4 bytes_recv=4/, from);
    expect(line).toMatch(
      /src.workload="web".*dst.service="api.shop.svc.cluster.local".*rtt="\d+us" via="same-node path"/,
    );
    expect(line).toContain(`src.identity="${web.spiffeId}"`);
    await web.node.logLine(/direction="inbound".*bytes_sent=4 bytes_recv=4/, from);
    const grown = totals().filter(
      (series) => series.opened > (before.find(({ labels }) => labels === series.labels)?.opened ?? 0),
    );
    const reporters = grown.map(({ labels }) => /reporter="(\w+)"/.exec(labels)?.[1]);
    expect(new Set(reporters)).toEqual(new Set(['destination', 'source']));
    for (const { labels } of grown) expect(labels).toContain('connection_security_policy="mutual_tls"');
  });

  it('survives a restart of the node tunnel: flows live on, are known and revocable, and the path comes back', async () => {
    await becomesDirect(web, api1.ipv4, port);
    const { socket, direct } = await talk(web, api1.ipv4, port);
    expect(direct).toBe(true);
    const { node } = web;
    const first = sameNode;
    first.close();
    sameNode = node.openSameNode();
    try {
      expect(await roundTrip(socket)).toBe('ping');
      for (const pod of [web, batch, api1, api2]) node.adopt(pod, sameNode);
      await flowsAre(1);
      node.switchTo(sameNode);
      await becomesDirect(web, api1.ipv4, port);
      const end = ending(socket);
      await rig.apply({ policies: [denyWeb] });
      expect(await within('the reset', end)).toBe('ECONNABORTED');
    } finally {
      await flowsAre(0);
    }
  });
});

function waypointAt(hostname: string) {
  return { destination: { kind: 'hostname' as const, namespace: 'shop', hostname }, hboneMtlsPort: 15008 };
}
