// The same-node fast path on the real kernel: who is let through, who is not whatever he tries, what is counted, and
// that what was let through can be taken back.

import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { BpfMap } from './bpf-map.ts';
import { canResetSockets } from './flow-reset.ts';
import { Redirect } from './redirect.ts';
import { countersSize, type FlowEvent, type LiveFlow, maxLiveFlows } from './same-node-layout.ts';
import { SameNodeMaps } from './same-node-maps.ts';
import { skipKernelTests, skipReason } from './testing/kernel-suite.ts';
import { type HeldConnection, TestNetwork, type TestPod } from './testing/test-network.ts';
import { TestProxy } from './testing/test-proxy.ts';

const vip = '10.96.0.10' as IpAddress;
const port = 8080;

describe.skipIf(skipKernelTests)(`the same-node fast path${skipReason}`, () => {
  let network: TestNetwork;
  let redirect: Redirect;
  let maps: SameNodeMaps;
  let client: TestPod;
  let other: TestPod;
  let server: TestPod;
  let second: TestPod;
  const proxies = new Map<TestPod, TestProxy>();
  const cookies = new Map<TestPod, bigint>();

  beforeAll(async () => {
    network = new TestNetwork();
    redirect = Redirect.open({});
    client = await capture('client');
    other = await capture('other');
    server = await capture('server');
    second = await capture('second');
    for (const pod of [server, second]) {
      await network.serve(pod, 'serve', ['0.0.0.0', port]);
      await network.serve(pod, 'serve', ['::', port + 1]);
      await network.serve(pod, 'echo', ['0.0.0.0', port + 2]);
    }
  });

  afterAll(async () => {
    for (const proxy of proxies.values()) await proxy.close();
    redirect.close({ keepPins: false });
    network.dispose();
  });

  beforeEach(() => {
    maps = new SameNodeMaps(redirect.sameNodeFds);
    maps.renew();
    maps.events();
  });

  afterEach(async () => {
    await expect.poll(() => maps.counters().live).toBe(0);
    maps.close();
  });

  async function capture(label: string, further: readonly IpAddress[] = []): Promise<TestPod> {
    const pod = network.addPod(label);
    const addresses = [pod.ipv4, pod.ipv6, ...further];
    for (const address of further) ip(pod, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    const proxy = new TestProxy(redirect, pod, { plaintext: 'told', addresses });
    proxies.set(pod, proxy);
    cookies.set(pod, redirect.attach(label, proxy.capture).netnsCookie);
    return pod;
  }

  const cookieOf = (pod: TestPod): bigint => cookies.get(pod) as bigint;

  function allow(to: IpAddress, at: number, pods: readonly TestPod[], from = client, target = at): void {
    const endpoints = pods.map((pod) => ({
      netnsCookie: cookieOf(pod),
      address: to.includes(':') ? pod.ipv6 : pod.ipv4,
      port: target,
    }));
    maps.allow({ netnsCookie: cookieOf(from), destination: { address: to, port: at } }, endpoints);
  }

  const captured = (address: string, at: number) => `captured for ${address} ${at}`;

  async function dial(from: TestPod, address: string, at: number, mode = 'blocking', source?: string) {
    return await network.dial(from, mode, [address, at], source);
  }

  async function eventsUntil(count: number): Promise<FlowEvent[]> {
    const events: FlowEvent[] = [];
    await expect
      .poll(() => {
        events.push(...maps.events());
        return events.length;
      })
      .toBe(count);
    return events;
  }

  it.each(['blocking', 'nonblocking', 'uring', 'fastopen'])(
    'lets what is allowed through to the pod itself (%s), each end seeing the other one',
    async (mode) => {
      allow(server.ipv4, port, [server]);
      const { self, peer, reply } = await dial(client, server.ipv4, port, mode);
      expect(self).toMatch(new RegExp(`^${client.ipv4} \\d+$`));
      expect(peer).toBe(`${server.ipv4} ${port}`);
      expect(reply).toBe(`accepted ${self}, peer ${self}, self ${server.ipv4} ${port}`);
      expect(maps.counters().refused).toBe(0);
    },
  );

  it('does so over IPv6, and for an IPv6 server over IPv4', async () => {
    allow(server.ipv6, port + 1, [server]);
    allow(server.ipv4, port + 1, [server]);
    const six = await dial(client, server.ipv6, port + 1);
    expect(six.reply).toBe(`accepted ${six.self}, peer ${six.self}, self ${server.ipv6} ${port + 1}`);
    const four = await dial(client, server.ipv4, port + 1);
    expect(four.reply).toContain(`accepted ::ffff:${four.self}`);
    const mapped = await dial(client, `::ffff:${server.ipv4}`, port + 1);
    expect(mapped.reply).toContain(`accepted ${mapped.self}`);
    expect(mapped.peer).toBe(`::ffff:${server.ipv4} ${port + 1}`);
    const events = await eventsUntil(6);
    expect(events.map(({ flow }) => flow.source.address)).toContain(client.ipv6);
  });

  it("takes any of a Service's endpoints, and getpeername() shows the Service", async () => {
    allow(vip, 80, [server, second], client, port);
    const dials = await Promise.all(Array.from({ length: 40 }, () => dial(client, vip, 80)));
    const reached = new Set<string>();
    for (const { peer, reply } of dials) {
      expect(peer).toBe(`${vip} 80`);
      reached.add(/self (.*)$/.exec(reply ?? '')?.[1] ?? '');
    }
    expect([...reached].sort()).toEqual([`${server.ipv4} ${port}`, `${second.ipv4} ${port}`]);
  });

  it('leaves everything else to the proxy: another port, another pod, another source', async () => {
    allow(server.ipv4, port, [server]);
    expect((await dial(client, server.ipv4, port + 1)).reply).toBe(captured(server.ipv4, port + 1));
    expect((await dial(client, second.ipv4, port)).reply).toBe(captured(second.ipv4, port));
    expect((await dial(other, server.ipv4, port)).reply).toBe(captured(server.ipv4, port));
    expect((await dial(client, vip, port)).reply).toBe(captured(vip, port));
  });

  it('lets nothing through in another generation, after a stop, or once the destination has left', async () => {
    allow(server.ipv4, port, [server]);
    maps.renew();
    expect((await dial(client, server.ipv4, port)).reply).toBe(captured(server.ipv4, port));
    allow(server.ipv4, port, [server]);
    maps.stop();
    expect((await dial(client, server.ipv4, port)).reply).toBe(captured(server.ipv4, port));
    maps.renew();
    allow(server.ipv4, port, [server]);
    redirect.detach('server');
    expect((await dial(client, server.ipv4, port)).reply).toBe(captured(server.ipv4, port));
    redirect.attach('server', proxies.get(server)?.capture as never);
    expect((await dial(client, server.ipv4, port)).reply).toContain('accepted');
  });

  it('does not take another pod at the same address for the one that was meant', async () => {
    maps.allow({ netnsCookie: cookieOf(client), destination: { address: server.ipv4, port } }, [
      { netnsCookie: cookieOf(second), address: server.ipv4, port },
    ]);
    // Recorded for `second`; what arrives at `server` is not known there.
    expect((await dial(client, server.ipv4, port)).reply).toBe('plaintext');
  });

  it('counts: opened and closed, payload each way, the round trip, who asked for what', async () => {
    allow(vip, 80, [server], client, port + 2);
    const held = await network.hold(client, [vip, 80]);
    expect(await held.say('hello')).toEqual({ data: 'hello' });
    expect(await held.say('you there')).toEqual({ data: 'you there' });
    const [opened] = await eventsUntil(1);
    const flow = {
      sourceNetns: cookieOf(client),
      destinationNetns: cookieOf(server),
      source: { address: client.ipv4, port: Number(held.first?.self?.split(' ')[1]) },
      destination: { address: server.ipv4, port: port + 2 },
      asked: { address: vip, port: 80 },
    };
    expect(opened).toMatchObject({ kind: 'opened', flow });
    expect([...maps.liveFlows()]).toEqual([[opened?.cookie, flow]]);
    await held.close();
    const [closed] = await eventsUntil(1);
    expect(closed).toMatchObject({ kind: 'closed', cookie: opened?.cookie, received: 14, sent: 14, flow });
    expect(closed?.rttUs).toBeGreaterThan(0);
  });

  it('counts payload exactly, whoever closes first and whatever is pending', async () => {
    allow(server.ipv4, port, [server]);
    const dials = await Promise.all(Array.from({ length: 20 }, () => dial(client, server.ipv4, port)));
    const events = await eventsUntil(40);
    const closed = events.filter(({ kind }) => kind === 'closed');
    // The server closes first: it answers and closes, the client ends without reading on.
    expect(closed.map(({ received }) => received)).toEqual(dials.map(() => 6));
    const sent = closed.map((event) => event.sent).sort((a, b) => a - b);
    expect(sent).toEqual(dials.map(({ reply }) => reply?.length ?? 0).sort((a, b) => a - b));
  });

  it('tells a connect that failed, and keeps nothing of it', async () => {
    allow(server.ipv4, 9, [server]);
    expect(await dial(client, server.ipv4, 9)).toEqual({ step: 'connect', error: 'ECONNREFUSED' });
    expect(await eventsUntil(1)).toMatchObject([{ kind: 'failed', flow: { asked: { port: 9 } } }]);
    expect(maps.liveFlows().size).toBe(0);
  });

  it('resets exactly the flow that lost permission, at either end', async () => {
    expect(canResetSockets()).toBe(true);
    allow(server.ipv4, port + 2, [server]);
    const held: HeldConnection[] = [];
    for (let i = 0; i < 3; i++) held.push(await network.hold(client, [server.ipv4, port + 2]));
    const flows = [...maps.liveFlows()];
    const flowOf = (i: number) => {
      const at = Number(held[i]?.first?.self?.split(' ')[1]);
      return flows.find(([, { source }]) => source.port === at) as (typeof flows)[number];
    };
    const [cookie, flow] = flowOf(0);
    const source = client.netnsPath;
    const destination = server.netnsPath;
    expect(maps.reset(flow, cookie + 1n, { source, destination })).toBe(false);
    expect(maps.reset(flow, cookie, { source, destination })).toBe(true);
    expect(await held[0]?.next()).toEqual({ end: 'ECONNABORTED' });
    expect(maps.reset(flow, cookie, { source, destination })).toBe(false);
    const [cookie2, flow2] = flowOf(1);
    // The source's path leads to another namespace by now.
    expect(maps.reset(flow2, cookie2, { source: other.netnsPath, destination })).toBe(true);
    expect(await held[1]?.next()).toEqual({ end: 'ECONNRESET' });
    expect(await held[2]?.say('still here')).toEqual({ data: 'still here' });
    await held[2]?.close();
  });

  it('leaves connects to the proxy while the map of open flows is full, and counts them', async () => {
    allow(server.ipv4, port, [server]);
    const counters = new BpfMap('counters', redirect.sameNodeFds.counters, { key: 4, value: countersSize });
    const { full } = maps.counters();
    const setLive = (live: number): void => {
      const value = Buffer.from(counters.get(Buffer.alloc(4)) ?? Buffer.alloc(countersSize));
      value.writeBigUInt64LE(BigInt(live));
      counters.set(Buffer.alloc(4), value);
    };
    // The kernel goes by its own count, which leaves room for connects that are under way.
    setLive(maxLiveFlows - 256);
    expect((await dial(client, server.ipv4, port)).reply).toBe(captured(server.ipv4, port));
    expect(maps.counters()).toMatchObject({ full: full + 1, live: maxLiveFlows - 256 });
    setLive(maxLiveFlows - 257);
    expect((await dial(client, server.ipv4, port)).reply).toContain('accepted');
    await eventsUntil(2);
    setLive(0);
    expect(maps.liveFlows().size).toBe(0);
  });

  it('counts what finds no room in the ring of events, holds up no connection and keeps no flow of it', async () => {
    allow(server.ipv4, port, [server]);
    const { lost } = maps.counters();
    const count = 5_000;
    expect(await network.burst(client, [server.ipv4, port], count)).toBe(count);
    await expect.poll(() => maps.counters().live).toBe(0);
    const seen = maps.events().length;
    expect(seen).toBeGreaterThan(0);
    expect(maps.counters().lost - lost).toBe(2 * count - seen);
    expect(maps.liveFlows().size).toBe(0);
    // There is room again.
    await dial(client, server.ipv4, port);
    await eventsUntil(2);
  });

  it('outlives its process: the next one finds the flow, and can reset it', async () => {
    const pinDir = `/sys/fs/bpf/weft-test-${process.pid}-same-node`;
    const ends = ['first', 'last'].map((label) => network.addPod(label));
    const [from, to] = ends as [TestPod, TestPod];
    await network.serve(to, 'echo', ['0.0.0.0', port]);
    const capture = (into: Redirect): { proxies: TestProxy[]; cookies: bigint[] } => {
      const made = ends.map((pod) => new TestProxy(into, pod));
      return { proxies: made, cookies: made.map((each, i) => into.attach(`${i}`, each.capture).netnsCookie) };
    };
    const before = Redirect.open({ pinDir });
    const first = capture(before);
    const earlier = new SameNodeMaps(before.sameNodeFds);
    earlier.renew();
    const [netnsCookie, destinationNetns] = first.cookies as [bigint, bigint];
    const destination = { address: to.ipv4, port };
    earlier.allow({ netnsCookie, destination }, [{ netnsCookie: destinationNetns, ...destination }]);
    const held = await network.hold(from, [to.ipv4, port]);
    expect(await held.say('before')).toEqual({ data: 'before' });
    // As killed: nothing is said to the kernel.
    before.close({ keepPins: true });
    for (const proxy of first.proxies) await proxy.close();
    using after = Redirect.open({ pinDir });
    const second = capture(after);
    const later = new SameNodeMaps(after.sameNodeFds);
    later.stop();
    expect(await held.say('after')).toEqual({ data: 'after' });
    const [[cookie, flow] = []] = [...later.liveFlows()];
    expect(flow).toMatchObject({ sourceNetns: netnsCookie, destinationNetns, destination });
    later.events();
    const netns = { source: from.netnsPath, destination: to.netnsPath };
    expect(later.reset(flow as LiveFlow, cookie as bigint, netns)).toBe(true);
    expect(await held.next()).toEqual({ end: 'ECONNABORTED' });
    await expect.poll(() => later.counters().live).toBe(0);
    expect(later.events()).toMatchObject([{ kind: 'closed', cookie, received: 11, sent: 11 }]);
    later.close();
    for (const proxy of second.proxies) await proxy.close();
    after.close({ keepPins: false });
  });

  describe('can not be forged', () => {
    it('by a raw socket, from the pod that is allowed or from another one', async () => {
      // Nothing listens there: what is let through is refused by the pod, everything else is answered by its proxy.
      allow(server.ipv4, 9, [server]);
      const to = [server.ipv4, 9] as const;
      expect(await dial(client, ...to)).toEqual({ step: 'connect', error: 'ECONNREFUSED' });
      await eventsUntil(1);
      for (const pod of [client, other])
        expect(await network.rawSyn(pod, [pod.ipv4, 40_010], to)).toEqual({ reply: 'syn-ack' });
    });

    it('by the source port of a flow that is open, from another pod', async () => {
      allow(server.ipv4, port + 2, [server]);
      const held = await network.hold(client, [server.ipv4, port + 2]);
      const at = Number(held.first?.self?.split(' ')[1]);
      const forged = await network.hold(other, [server.ipv4, port + 2], [other.ipv4, at]);
      expect(await forged.next()).toEqual({ data: captured(server.ipv4, port + 2) });
      await forged.close();
      await held.close();
    });

    it("by a pod that gives itself the allowed pod's address and port, while it connects and after", async () => {
      allow(server.ipv4, port, [server]);
      const spoofer = network.addPod('spoofer');
      ip(spoofer, 'address', 'add', `${client.ipv4}/32`, 'dev', 'lo');
      // Outside the mesh, so that only the destination's side is asked. The network delivers answers to the true pod.
      pinNeighbour(server, client, macOf(client));
      // The client's own SYN is lost: its flow stays recorded.
      pinNeighbour(client, server, '02:00:00:00:00:01');
      const genuine = network.hold(client, [server.ipv4, port], [client.ipv4, 40_000]);
      await expect.poll(() => maps.liveFlows().size).toBe(1);
      const spoofed = await network.hold(spoofer, [server.ipv4, port], [client.ipv4, 40_000]);
      expect(spoofed.first).toEqual({ step: 'connect', error: 'ETIMEDOUT' });
      ip(client, 'neigh', 'del', server.ipv4, 'dev', 'eth0');
      await genuine;
      const late = await network.hold(spoofer, [server.ipv4, port], [client.ipv4, 40_001]);
      expect(late.first).toEqual({ step: 'connect', error: 'ETIMEDOUT' });
      // Whom others asked meanwhile may have believed the spoofer: the true neighbour stays pinned.
      ip(spoofer, 'link', 'set', 'eth0', 'down');
      for (const pod of [other, second]) ip(pod, 'neigh', 'flush', 'all');
    }, 20_000);

    it('by a source outside the mesh, or an enrolled one that dials past its proxy', async () => {
      allow(server.ipv4, port, [server]);
      const stranger = network.addPod('stranger');
      expect((await dial(stranger, server.ipv4, port)).reply).toBe('plaintext');
    });

    it('by binding to an address the verdict is not about', async () => {
      const multi = await capture('multi', ['10.77.0.99' as IpAddress]);
      allow(server.ipv4, port, [server], multi);
      expect((await dial(multi, server.ipv4, port, 'blocking', '10.77.0.99')).reply).toBe(
        captured(server.ipv4, port),
      );
      expect((await dial(multi, server.ipv4, port, 'blocking', multi.ipv4)).reply).toContain('accepted');
    });
  });

  it("connects from the pod's own address, as the proxy does, where a route would take another", async () => {
    allow(server.ipv4, port, [server]);
    allow(server.ipv4, port + 1, [server]);
    ip(client, 'address', 'add', '10.77.0.98/24', 'dev', 'eth0');
    ip(client, 'route', 'add', `${server.ipv4}/32`, 'dev', 'eth0', 'src', '10.77.0.98');
    try {
      const { self, reply } = await dial(client, server.ipv4, port);
      expect(self).toMatch(new RegExp(`^${client.ipv4} `));
      expect(reply).toContain(`accepted ${self}`);
      expect(maps.counters().refused).toBe(0);
    } finally {
      ip(client, 'route', 'del', `${server.ipv4}/32`);
      ip(client, 'address', 'del', '10.77.0.98/24', 'dev', 'eth0');
    }
  });

  it('lets nothing new through while no proxy lives in the destination pod, and leaves open flows alone', async () => {
    const doomed = await capture('doomed');
    await network.serve(doomed, 'echo', ['0.0.0.0', port]);
    allow(doomed.ipv4, port, [doomed]);
    const held = await network.hold(client, [doomed.ipv4, port]);
    await proxies.get(doomed)?.close();
    proxies.delete(doomed);
    expect(await dial(client, doomed.ipv4, port)).toEqual({ step: 'connect', error: 'ECONNREFUSED' });
    expect(await held.say('alive')).toEqual({ data: 'alive' });
    await held.close();
  });
});

function ip(pod: TestPod, ...command: string[]): void {
  execFileSync('ip', ['-n', pod.name, ...command]);
}

function macOf(pod: TestPod): string {
  const [link] = JSON.parse(
    execFileSync('ip', ['-j', '-n', pod.name, 'link', 'show', 'eth0'], { encoding: 'utf8' }),
  );
  return link.address;
}

function pinNeighbour(at: TestPod, of: TestPod, mac: string): void {
  ip(at, 'neigh', 'replace', of.ipv4, 'lladdr', mac, 'dev', 'eth0', 'nud', 'permanent');
}
