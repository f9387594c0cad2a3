// Destinations with a waypoint: connections are led to it and cannot get past it, whatever becomes of its pods.

import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { makePolicy, makeService, vip } from '../mesh/model/fixture.ts';
import { formatSpiffeId, identityOf } from '../mesh/model/spiffe-id.ts';
import type { Service } from '../mesh/model/service.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import { DataPlaneRig, type RigPod, tunnelsFrom } from './testing/data-plane-rig.ts';
import {
  connectFrom,
  echo,
  ending,
  type PodServer,
  readAll,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';
import { fromAccount } from './testing/rules.ts';
import { type Onward, TestWaypoint } from './testing/test-waypoint.ts';

const port = 8080;
const echoPort = 9_000;
const address = '10.96.0.30';
const gateHost = 'gate.shop.svc.cluster.local';
const waypoint: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: gateHost },
  hboneMtlsPort: 15_008,
};
const gate = makeService('shop', gateHost, {
  ports: [{ name: 'hbone', servicePort: 15_008, targetPort: 15_008, appProtocol: 'unknown' }],
});
const api: Service = makeService('shop', 'api.shop.svc.cluster.local', {
  addresses: [vip(address)],
  ports: [
    { name: 'http', servicePort: 80, targetPort: port, appProtocol: 'unknown' },
    { name: 'echo', servicePort: echoPort, targetPort: echoPort, appProtocol: 'unknown' },
  ],
  waypoint,
});
const denyWeb = makePolicy('shop', 'no-web', { action: 'deny', rules: [fromAccount('web', 'client')] });

describe.skipIf(skipKernelTests)(`destinations with a waypoint${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let server: RigPod;
  let stranger: RigPod;
  let gates: RigPod[];
  let waypoints: TestWaypoint[];
  let apps: PodServer[];
  let behind: Workload;

  beforeAll(async () => {
    rig = await DataPlaneRig.open({ connectTimeoutMs: 1_500 });
    client = await rig.addPod('client');
    const services = new Map([[api.key, []]]);
    server = await rig.addPod('api', { node: 'node-2', workload: { services, waypoint } });
    behind = server.workload;
    stranger = await rig.addPod('stranger', { enrolled: false });
    gates = [];
    for (const label of ['gate-1', 'gate-2']) {
      const workload = { tunnelProtocol: 'hbone', services: new Map([[gate.key, []]]) } as const;
      gates.push(await rig.addPod(label, { enrolled: false, serviceAccount: 'gate', workload }));
    }
    await rig.renew((gates[0] as RigPod).spiffeId);
    apps = [
      serve(server, port, (socket) => socket.end(`api ${socket.remoteAddress}`)),
      serve(server, echoPort, echo),
    ];
  });

  beforeEach(async () => {
    await rig.apply({ services: [gate, api], workloads: [behind, ...gates.map(({ workload }) => workload)] });
    waypoints = gates.map((pod) => open(pod));
  });

  afterEach(async () => {
    for (const each of waypoints) await each[Symbol.asyncDispose]();
    await rig.apply({ removed: { policies: [denyWeb.key] } });
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  afterAll(async () => {
    for (const app of apps) await app[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  function open(
    pod: RigPod,
    onward: (authority: string) => Onward = (authority) => ({
      host: authority.startsWith('[') ? server.ipv6 : server.ipv4,
      port: authority.endsWith(`:${echoPort}`) ? echoPort : port,
    }),
    account = gates[0] as RigPod,
  ): TestWaypoint {
    const credentials = rig.credentials.get(account.spiffeId);
    if (credentials === undefined) throw new Error('No certificate');
    return new TestWaypoint(pod, { credentials, onward: ({ authority }) => onward(authority) });
  }

  /** What the server of one connection said; the error's code when it failed. */
  async function ask(from: RigPod, host: string, toPort: number): Promise<string> {
    const socket = connectFrom(from, host, toPort);
    const failed = ending(socket);
    const said = readAll(socket).then((bytes) => bytes.toString());
    said.catch(() => {});
    const how = await failed;
    const answer = how === 'end' ? await said : how;
    socket.destroy();
    return answer;
  }

  it('leads Service and pod addresses to it, asks for what the client asked for, and the server sees the client', async () => {
    const from = client.node.log.length;
    for (const [host, toPort, seen] of [
      [address, 80, client.ipv4],
      [server.ipv4, port, client.ipv4],
      [server.ipv6, port, client.ipv6],
    ] as const)
      expect(await ask(client, host, toPort)).toBe(`api ${seen}`);
    const asked = waypoints.flatMap((each) => each.asked);
    const forwardedFor = (authority: string) => asked.find((each) => each.authority === authority)?.forwarded;
    expect(forwardedFor(`${address}:80`)).toMatch(/^for="[0-9.]+:\d+";host=api\.shop\.svc\.cluster\.local$/);
    expect(forwardedFor(`${server.ipv4}:${port}`)).toMatch(/^for="[0-9.]+:\d+"$/);
    expect(forwardedFor(`[${server.ipv6}]:${port}`)).toMatch(/^for="\[[0-9a-f:]+\]:\d+"$/);
    for (const { peer, address: source, baggage } of asked) {
      expect(peer).toBe(client.spiffeId);
      expect([client.ipv4, client.ipv6]).toContain(source);
      expect(baggage).toContain('k8s.pod.name=client');
    }
    const line = await client.node.logLine(/connection complete.*dst\.service="api\.shop/, from);
    expect(line).toMatch(
      /dst\.addr=[0-9.]+:15008 dst\.hbone_addr=10\.96\.0\.30:80 .*dst\.workload="gate-[12]"/,
    );
    expect(line).toContain('dst.identity="spiffe://cluster.local/ns/shop/sa/gate"');
    expect(await server.node.logLine(/connection complete.*direction="inbound"/)).toMatch(
      /src\.workload="gate-[12]".*src\.identity="spiffe:\/\/cluster\.local\/ns\/shop\/sa\/gate".*dst\.workload="api"/,
    );
  });

  it('spreads new connections over all of its pods, in shared tunnels', async () => {
    const sockets = Array.from({ length: 16 }, () => connectFrom(client, address, echoPort));
    for (const socket of sockets) expect(await roundTrip(socket)).toBe('ping');
    const shares = waypoints.map(({ asked }) => asked.length);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(4);
    expect(tunnelsFrom(client)).toBe(2);
    for (const socket of sockets) socket.destroy();
  });

  it('fails no new connection when one of its pods is killed under load', async () => {
    let answers = 0;
    let stopping = false;
    const failures: string[] = [];
    const loops = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!stopping) {
          const answer = await ask(client, address, 80);
          if (answer === `api ${client.ipv4}`) answers++;
          else failures.push(answer);
        }
      }),
    );
    await within(
      'load',
      until(() => answers > 40),
    );
    await waypoints[0]?.[Symbol.asyncDispose]();
    const more = answers + 100;
    await within(
      'load after the kill',
      until(() => answers > more),
    );
    stopping = true;
    await loops;
    // What was in the killed one at that moment is lost with it: at most one connection a loop.
    expect(failures.length, failures.join()).toBeLessThanOrEqual(4);
    expect(client.node.log.filter((line) => line.includes('connection failed'))).toEqual([]);
    waypoints[0] = open(gates[0] as RigPod);
  });

  it('refuses, and says so, while none of its pods is ready; a pod that is back is used', async () => {
    await rig.apply({ removed: { workloads: gates.map(({ workload }) => workload.uid) } });
    const from = client.node.log.length;
    for (const [host, toPort, name] of [
      [address, 80, 'service api.shop.svc.cluster.local'],
      [server.ipv4, port, 'workload api'],
    ] as const) {
      expect(await ask(client, host, toPort)).toBe('ECONNRESET');
      const line = await client.node.logLine(
        new RegExp(`connection failed.*${name} is reached through`),
        from,
      );
      expect(line).toContain(`waypoint ${gateHost} only, which has no ready endpoint`);
      expect(line).toContain('response_flags="UH"');
    }
    await rig.apply({ workloads: gates.map(({ workload }) => workload) });
    expect(await ask(client, address, 80)).toBe(`api ${client.ipv4}`);
  });

  it('goes on directly, with L4 policies, where l4-only says so and none is ready', async () => {
    const lenient = { waypointMissing: 'l4-only' } as const;
    await rig.apply({
      services: [{ ...api, ...lenient }],
      workloads: [{ ...behind, ...lenient }],
      removed: { workloads: gates.map(({ workload }) => workload.uid) },
    });
    expect(await ask(client, address, 80)).toBe(`api ${client.ipv4}`);
    expect(await ask(client, server.ipv4, port)).toBe(`api ${client.ipv4}`);
    expect(await ask(stranger, server.ipv4, port)).toBe(`api ${stranger.ipv4}`);
    expect(waypoints.flatMap(({ asked }) => asked)).toEqual([]);
    await rig.apply({ policies: [denyWeb] });
    expect(await ask(client, address, 80)).toBe('ECONNRESET');
  });

  it('lets nobody past it: not a node that has not heard of it, not plaintext', async () => {
    const { waypoint: _ofService, ...service } = api;
    const { waypoint: _ofWorkload, ...workload } = behind;
    // Only the client's node is told that there is no waypoint.
    await rig.applyOn(client.node, { services: [service], workloads: [workload] });
    const [here, there] = [client.node.log.length, server.node.log.length];
    const answers = await Promise.all([
      ask(client, address, 80),
      ask(client, server.ipv4, port),
      ask(client, server.ipv6, port),
      ask(stranger, server.ipv4, port),
    ]);
    expect(new Set(answers)).toEqual(new Set(['ECONNRESET']));
    const reason = `connection denied: workload api is reached through its waypoint ${gateHost} only`;
    const line = await client.node.logLine(new RegExp(`connection failed.*${reason}`), here);
    expect(line).toContain('response_flags="DENY"');
    await server.node.logLine(
      new RegExp(`connection failed.*${reason}, and this is a caller without`),
      there,
    );
    expect(waypoints.flatMap(({ asked }) => asked)).toEqual([]);
    await rig.applyOn(client.node, { services: [api], workloads: [behind] });
  });

  it('fails no connection of a node that hears of it a moment later than the destination', async () => {
    const { waypoint: _ofService, ...service } = api;
    const { waypoint: _ofWorkload, ...workload } = behind;
    await rig.applyOn(client.node, { services: [service], workloads: [workload] });
    const from = server.node.log.length;
    const answers = [ask(client, address, 80), ask(client, server.ipv4, port)];
    await server.node.logLine(/reached through its waypoint/, from);
    await rig.applyOn(client.node, { services: [api], workloads: [behind] });
    expect(await Promise.all(answers)).toEqual([`api ${client.ipv4}`, `api ${client.ipv4}`]);
    expect(waypoints.flatMap(({ asked }) => asked)).toHaveLength(2);
  });

  it('fails no connection of a node that hears of its end a moment later than it', async () => {
    for (const each of waypoints) await each[Symbol.asyncDispose]();
    waypoints = gates.map((pod) => open(pod, () => ({ status: 404 })));
    const { waypoint: _ofService, ...service } = api;
    const { waypoint: _ofWorkload, ...workload } = behind;
    const answer = ask(client, address, 80);
    await within(
      'the waypoint to be asked',
      until(() => waypoints.some(({ asked }) => asked.length > 0)),
    );
    await rig.apply({ services: [service], workloads: [workload] });
    expect(await answer).toBe(`api ${client.ipv4}`);
  });

  it('takes no other identity for its waypoint, though it comes from there', async () => {
    for (const each of waypoints) await each[Symbol.asyncDispose]();
    await rig.renew(formatSpiffeId({ ...identityOf(client.workload), serviceAccount: 'fake' }));
    waypoints = gates.map((pod) =>
      open(pod, undefined, { ...client, spiffeId: 'spiffe://cluster.local/ns/shop/sa/fake' as never }),
    );
    const from = client.node.log.length;
    expect(await ask(client, address, 80)).toBe('ECONNRESET');
    const line = await client.node.logLine(/connection failed.*did not present the expected identity/, from);
    expect(line).toContain('response_flags="IDENTITY_ERROR"');
  });

  it('leaves policies to it, and does not ask them again', async () => {
    await rig.apply({
      policies: [denyWeb, makePolicy('shop', 'only-batch', { rules: [fromAccount('b', 'batch')] })],
    });
    expect(await ask(client, address, 80)).toBe(`api ${client.ipv4}`);
    const socket = connectFrom(client, address, echoPort);
    expect(await roundTrip(socket)).toBe('ping');
    await rig.apply({ policies: [{ ...denyWeb, dryRun: true }] });
    expect(await roundTrip(socket)).toBe('ping');
    socket.destroy();
    await rig.apply({ removed: { policies: [makePolicy('shop', 'only-batch').key] } });
  });

  it('leaves connections that were open when it came, and holds new ones to it', async () => {
    const { waypoint: _ofService, ...service } = api;
    const { waypoint: _ofWorkload, ...workload } = behind;
    await rig.apply({ services: [service], workloads: [workload] });
    const before = connectFrom(client, address, echoPort);
    expect(await roundTrip(before)).toBe('ping');
    await rig.apply({ services: [api], workloads: [behind] });
    expect(await roundTrip(before)).toBe('ping');
    expect(await ask(client, address, 80)).toBe(`api ${client.ipv4}`);
    expect(waypoints.flatMap(({ asked }) => asked)).toHaveLength(1);
    // It was let in by policies, and stays theirs.
    await rig.apply({ policies: [denyWeb] });
    expect(await ending(before)).toBe('ECONNRESET');
  });

  it('hands on a refusal of the waypoint, and blames none of its pods for it', async () => {
    for (const each of waypoints) await each[Symbol.asyncDispose]();
    let status = 503;
    waypoints = gates.map((pod) =>
      open(pod, () => (status === 200 ? { host: server.ipv4, port } : { status })),
    );
    for (let i = 0; i < 4; i++) expect(await ask(client, address, 80)).toBe('ECONNRESET');
    status = 401;
    const from = client.node.log.length;
    expect(await ask(client, address, 80)).toBe('ECONNRESET');
    expect(await client.node.logLine(/connection failed.*denied/, from)).toContain('response_flags="DENY"');
    status = 200;
    const seen = waypoints.map(({ asked }) => asked.length);
    for (let i = 0; i < 8; i++) expect(await ask(client, address, 80)).toBe(`api ${client.ipv4}`);
    for (const [i, each] of waypoints.entries()) expect(each.asked.length).toBeGreaterThan(seen[i] ?? 0);
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn();
}
