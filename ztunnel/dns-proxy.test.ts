import { readdirSync } from 'node:fs';
import net from 'node:net';
import { decode } from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type IpAddress, isIpv6 } from '../mesh/model/ip-address.ts';
import { ip, makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { Store } from '../mesh/state/store.ts';
import { DnsProxy, type DnsProxyOptions } from './dns-proxy.ts';
import {
  addressesIn,
  askTcp,
  askUdp,
  countingMetrics,
  makeQuery,
  type Nameserver,
  type RunningNameserver,
  replyTo,
  startNameserver,
} from './dns-proxy.fixture.ts';
import { socketsIn } from './dns-sockets.ts';
import { DnsFrameReader, frameDns } from './dns-tcp.ts';

const pod: NodePod = {
  uid: 'client' as WorkloadUid,
  name: 'client',
  namespace: 'shop',
  serviceAccount: 'default',
  trustDomain: 'cluster.local',
  node: 'node-1',
  addresses: [ip('127.0.0.1'), ip('::1')],
  netns: '/nowhere',
  enrolled: true,
};

let nameserver: RunningNameserver;
let serve: Nameserver;
let store: Store;
let proxy: DnsProxy;
let exempted: number[];
let metrics: ReturnType<typeof countingMetrics>;
const errors: Error[] = [];

function start(options: Partial<DnsProxyOptions> = {}, nameservers: IpAddress[] = [ip('127.0.0.1')]) {
  exempted = [];
  metrics = countingMetrics();
  const exempt = (fd: number) => void exempted.push(fd);
  proxy = new DnsProxy({
    snapshot: () => store.snapshot(),
    clock: systemClock,
    exempt,
    metrics,
    onError: (_, error) => errors.push(error),
    port: 0,
    openSockets: () => socketsIn((run) => run(), exempt),
    upstream: { port: nameserver.port, timeoutMs: 200 },
    ...options,
  });
  const [v4, v6] = listen(nameservers);
  if (v4 === undefined || v6 === undefined) throw new Error('Not listening');
  return { v4, v6 };
}

/** A free UDP port may be taken for TCP by somebody else on the machine: then another one. */
function listen(nameservers: IpAddress[], attempts = 10): ReturnType<DnsProxy['addPod']> {
  try {
    return proxy.addPod({ pod, nameservers });
  } catch (error) {
    if (attempts === 1) throw error;
    return listen(nameservers, attempts - 1);
  }
}

const rcode = (reply: Buffer) => reply.readUInt16BE(2) & 15;
const openFds = () => readdirSync('/proc/self/fd').length;
/** What was closed is gone after the event loop turned. */
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

beforeEach(async () => {
  errors.length = 0;
  serve = (request) => [replyTo(request, '192.0.2.1')];
  nameserver = await startNameserver((request, protocol) => serve(request, protocol));
  store = new Store();
  store.apply({
    ...emptyDelta,
    workloads: [makeWorkload('client', { name: 'client' })],
    services: [
      makeService('shop', 'api.shop.svc.cluster.local', { addresses: [vip('10.96.0.1'), vip('fd96::1')] }),
      makeService('shop', 'many.example.com', {
        addresses: Array.from({ length: 60 }, (_, i) => vip(`10.97.0.${i}`)),
      }),
    ],
  });
});

afterEach(async () => {
  proxy.close();
  await nameserver.close();
  if (errors.length > 0) throw new AggregateError(errors, 'The proxy reported errors');
});

describe('DnsProxy', () => {
  it('answers known names over UDP and TCP, IPv4 and IPv6, without asking anybody', async () => {
    const { v4, v6 } = start();
    expect(addressesIn(await askUdp(v4, makeQuery('api.shop')))).toEqual(['10.96.0.1']);
    expect(addressesIn(await askUdp(v6, makeQuery('api.shop', 'AAAA')))).toEqual(['fd96::1']);
    const [reply] = await askTcp(v6, [makeQuery('api')]);
    expect(addressesIn(reply as Buffer)).toEqual(['10.96.0.1']);
    expect(nameserver.requests).toEqual([]);
    expect(metrics.counts).toEqual({ request: 3 });
  });

  it('forwards the rest untouched but for a random id, and restores the id', async () => {
    const { v4 } = start();
    const query = makeQuery('example.org', 'MX', 4242);
    const reply = await askUdp(v4, query);
    const [request] = nameserver.requests as [Buffer];
    expect(request.subarray(2)).toEqual(query.subarray(2));
    expect(reply.readUInt16BE(0)).toBe(4242);
    expect(reply.subarray(2)).toEqual(replyTo(request, '192.0.2.1').subarray(2));
    expect(metrics.counts).toEqual({ request: 1, upstreamRequest: 1, upstreamDuration: 1 });
  });

  it('exempts every socket it sends from', async () => {
    const { v4 } = start();
    const listening = exempted.length;
    await askUdp(v4, makeQuery('example.org'));
    await askTcp(v4, [makeQuery('example.org')]);
    expect(listening).toBe(2);
    expect(exempted.length).toBe(4);
  });

  it('passes TC on, and forwards over TCP what comes over TCP', async () => {
    const { v4 } = start();
    serve = (request, protocol) => [replyTo(request, '192.0.2.1', protocol === 'udp' ? 0x8380 : 0x8180)];
    expect(decode(await askUdp(v4, makeQuery('big.example.org'))).flag_tc).toBe(true);
    const [reply] = await askTcp(v4, [makeQuery('big.example.org')]);
    expect(decode(reply as Buffer).flag_tc).toBe(false);
  });

  it('truncates a large answer of its own over UDP and gives it whole over TCP', async () => {
    const { v4 } = start();
    expect(decode(await askUdp(v4, makeQuery('many.example.com'))).flag_tc).toBe(true);
    const [reply] = await askTcp(v4, [makeQuery('many.example.com')]);
    expect(addressesIn(reply as Buffer)).toHaveLength(60);
  });

  it('keeps NXDOMAIN, and asks the next server after SERVFAIL', async () => {
    const { v4 } = start({}, [ip('127.0.0.1'), ip('127.0.0.1')]);
    serve = (request) => [replyTo(request, '192.0.2.1', 0x8183)];
    expect(rcode(await askUdp(v4, makeQuery('nope.example.org')))).toBe(3);
    expect(nameserver.requests).toHaveLength(1);
    serve = (request) => [replyTo(request, '192.0.2.1', nameserver.requests.length === 2 ? 0x8182 : 0x8180)];
    expect(rcode(await askUdp(v4, makeQuery('example.org')))).toBe(0);
    expect(nameserver.requests).toHaveLength(3);
  });

  it('asks again when a reply is lost, and says SERVFAIL when none comes', async () => {
    const { v4 } = start();
    serve = (request) => (nameserver.requests.length < 2 ? [] : [replyTo(request, '192.0.2.1')]);
    expect(addressesIn(await askUdp(v4, makeQuery('example.org')))).toEqual(['192.0.2.1']);
    serve = () => [];
    expect(rcode(await askUdp(v4, makeQuery('example.org')))).toBe(2);
    expect(metrics.counts['upstreamFailure']).toBe(1);
  });

  it('ignores replies with another id or question', async () => {
    const { v4 } = start();
    serve = (request) => {
      const wrongId = replyTo(request, '192.0.2.66');
      wrongId.writeUInt16BE(wrongId.readUInt16BE(0) ^ 1, 0);
      return [
        wrongId,
        replyTo(makeQuery('evil.org', 'A', request.readUInt16BE(0)), '192.0.2.66'),
        replyTo(request, '192.0.2.1'),
      ];
    };
    expect(addressesIn(await askUdp(v4, makeQuery('example.org')))).toEqual(['192.0.2.1']);
  });

  it('says SERVFAIL at once above its bound of queries under way, and still answers what it knows', async () => {
    const { v4 } = start({ upstream: { port: nameserver.port, timeoutMs: 60_000, maxOutstanding: 3 } });
    serve = () => [];
    const arrived: Buffer[] = [];
    const held = new Promise<void>((resolve) => {
      serve = (request) => {
        if (arrived.push(request) === 3) resolve();
        return [];
      };
    });
    for (let i = 0; i < 3; i++) void askUdp(v4, makeQuery('example.org', 'A', i)).catch(() => {});
    await held;
    expect(rcode(await askUdp(v4, makeQuery('example.org')))).toBe(2);
    expect(addressesIn(await askUdp(v4, makeQuery('api')))).toEqual(['10.96.0.1']);
  });

  it('says SERVFAIL to a client it does not know', async () => {
    const { v4 } = start({ clientOf: () => undefined });
    expect(rcode(await askUdp(v4, makeQuery('example.org')))).toBe(2);
    expect(nameserver.requests).toEqual([]);
  });

  it('answers many queries on one TCP connection, split in any way', async () => {
    const { v4 } = start();
    const replies = await askTcp(
      v4,
      Array.from({ length: 50 }, (_, i) => makeQuery(i % 2 ? 'api' : 'example.org', 'A', i)),
    );
    expect(new Set(replies.map((reply) => reply.readUInt16BE(0))).size).toBe(50);
    const socket = net.connect(v4.port, v4.address);
    const reply = new Promise<Buffer>((resolve) => socket.once('data', resolve));
    for (const byte of frameDns(makeQuery('api'))) socket.write(Buffer.of(byte));
    expect(addressesIn((await reply).subarray(2))).toEqual(['10.96.0.1']);
    socket.destroy();
  });

  it('makes no more replies than a slow client reads, and loses none', async () => {
    let made = 0;
    const snapshot = () => {
      made++;
      return store.snapshot();
    };
    const { v4 } = start({ snapshot });
    const count = 5_000;
    const socket = net.connect(v4.port, v4.address);
    socket.pause();
    const packet = frameDns(makeQuery('many.example.com'));
    socket.write(Buffer.concat(Array.from({ length: count }, () => packet)));
    let last = -1;
    await vi.waitFor(
      () => {
        const stalled = made > 0 && made === last;
        last = made;
        expect(stalled).toBe(true);
      },
      { timeout: 20_000, interval: 200 },
    );
    expect(made).toBeLessThan(count);
    let replies = 0;
    const all = new Promise<void>((resolve) => {
      const reader = new DnsFrameReader(() => {
        if (++replies === count) resolve();
      });
      socket.on('data', (chunk: Buffer) => reader.push(chunk));
    });
    socket.resume();
    await all;
    socket.destroy();
  });

  it('survives garbage on both protocols', async () => {
    const { v4 } = start();
    const socket = net.connect(v4.port, v4.address);
    socket.on('error', () => {});
    socket.write(Buffer.alloc(5_000, 0xff));
    expect(rcode(await askUdp(v4, Buffer.concat([makeQuery('api').subarray(0, 14)])))).toBe(1);
    expect(addressesIn(await askUdp(v4, makeQuery('api')))).toEqual(['10.96.0.1']);
    socket.destroy();
  });

  it('closes every descriptor, also of queries under way, and listens again for a replaced pod', async () => {
    serve = () => [];
    await settled();
    const before = openFds();
    const { v4 } = start();
    const held = new Promise<void>((resolve) => {
      serve = () => {
        resolve();
        return [];
      };
    });
    const asking = net.connect(v4.port, v4.address);
    asking.on('error', () => {});
    asking.write(frameDns(makeQuery('example.org')));
    await held;
    const closed = new Promise((resolve) => asking.once('close', resolve));
    listen([]);
    await closed;
    proxy.removePod(pod.uid);
    proxy.removePod(pod.uid);
    await vi.waitFor(() => expect(openFds()).toBe(before));
  });

  it('says what it could not bind and leaves nothing behind', async () => {
    const { v4 } = start();
    await settled();
    const before = openFds();
    const elsewhere = { ...pod, uid: 'other' as WorkloadUid, addresses: [v4.address, ip('192.0.2.99')] };
    expect(isIpv6(v4.address)).toBe(false);
    expect(() => proxy.addPod({ pod: elsewhere, nameservers: [] })).toThrow(
      /Could not bind UDP 192\.0\.2\.99/,
    );
    await vi.waitFor(() => expect(openFds()).toBe(before));
  });
});
