// What one operation of the tunnel costs in calls out of JavaScript and in copies, both sides together. Counted, never
// timed: upper bounds, to be lowered with the code.

import { expect, it, vi } from 'vitest';
import { ByteQueue } from '../io/byte-queue.ts';
import { pump } from '../io/testing/pump.ts';
import type { CallCounts } from '../io/testing/call-counts.ts';
import { dialRaw, PingPong, serveRaw, Sink, Source } from '../io/testing/raw-applications.ts';
import { openSteadyPath, roundTrips, transfer } from './testing/steady-path.ts';
import type { TunnelWorld } from './testing/tunnel-world.ts';

const counted = vi.hoisted(() => ({
  libc: undefined as CallCounts | undefined,
  openssl: undefined as CallCounts | undefined,
}));
vi.mock(import('../io/libc.ts'), async (original) => {
  const { CallCounts: Counts } = await import('../io/testing/call-counts.ts');
  counted.libc = new Counts();
  return counted.libc.wrap(await original());
});
vi.mock(import('../io/openssl.ts'), async (original) => {
  const { CallCounts: Counts } = await import('../io/testing/call-counts.ts');
  counted.openssl = new Counts();
  return counted.openssl.wrap(await original());
});

/** From zero. */
function counts(): { libc: CallCounts; openssl: CallCounts } {
  const { libc, openssl } = counted;
  if (libc === undefined || openssl === undefined) throw new Error('Calls are not counted');
  libc.reset();
  openssl.reset();
  return { libc, openssl };
}

it('a round trip through two nodes: for each direction and node one read and one write, nothing that finds nothing', async () => {
  await using path = await openSteadyPath(PingPong, PingPong);
  roundTrips(path, 100);
  const { libc, openssl } = counts();
  const rounds = 500;
  roundTrips(path, rounds);
  // The applications read and write once a message themselves.
  const calls = `${libc}; ${openssl}`;
  expect(libc.of('recv') / rounds - 2, calls).toBeLessThanOrEqual(2);
  expect(libc.of('send') / rounds - 2, calls).toBeLessThanOrEqual(4);
  expect(libc.of('epollWait') / rounds, calls).toBeLessThanOrEqual(6);
  expect(libc.all({ except: ['recv', 'send', 'epollWait'] }), calls).toBe(0);
  expect(openssl.of('SSL_read') / rounds, calls).toBeLessThanOrEqual(2);
  expect(openssl.of('SSL_write') / rounds, calls).toBeLessThanOrEqual(2);
  expect(openssl.all() / rounds, calls).toBeLessThanOrEqual(10);
});

it('bulk through two nodes: calls for each megabyte, and hardly a byte copied', async () => {
  await using path = await openSteadyPath(Source, Sink);
  const push = vi.spyOn(ByteQueue.prototype, 'push');
  transfer(path, 16_000_000);
  push.mockClear();
  const { libc, openssl } = counts();
  const own = { reads: path.server.reads, writes: path.client.writes };
  const megabytes = 128;
  transfer(path, megabytes * 1_000_000);
  const calls = `${libc}; ${openssl}`;
  const reads = libc.of('recv') - (path.server.reads - own.reads);
  const writes = libc.of('send') - (path.client.writes - own.writes);
  expect(reads / megabytes, calls).toBeLessThan(12);
  expect(writes / megabytes, calls).toBeLessThan(24);
  expect(libc.all({ except: ['recv', 'send'] }) / megabytes, calls).toBeLessThan(5);
  // 61 records of 16 KiB; the receiving side can not read more at once.
  expect(openssl.of('SSL_read') / megabytes, calls).toBeLessThan(75);
  expect(openssl.all({ except: ['SSL_read'] }) / megabytes, calls).toBeLessThan(60);
  const copied = push.mock.calls.reduce((total, [, , length]) => total + length, 0);
  expect(copied / (megabytes * 1_000_000), calls).toBeLessThan(0.1);
});

it('a new connection in a tunnel that stands: calls beyond those of its applications', async () => {
  await using path = await openSteadyPath(PingPong, PingPong);
  const direct = await callsOfConnections(path.world, 'direct');
  const tunnelled = await callsOfConnections(path.world, 'tunnel');
  expect(direct.openssl).toBe(0);
  // Accept, socket, connect, two of epoll_ctl and close each, and what the bytes, their ends and the request take.
  expect(tunnelled.libc - direct.libc, tunnelled.calls).toBeLessThanOrEqual(22);
  expect(tunnelled.openssl, tunnelled.calls).toBeLessThanOrEqual(30);
});

/** For each of fifty connections, one after the other, with one round trip each; without waiting. */
async function callsOfConnections(
  world: TunnelWorld,
  way: 'tunnel' | 'direct',
): Promise<{ readonly libc: number; readonly openssl: number; readonly calls: string }> {
  const { reactor } = world;
  const servers: PingPong[] = [];
  const application = serveRaw(reactor, (stream) => {
    const server = new PingPong(reactor, stream);
    server.left = 2;
    servers.push(server);
  });
  world.applicationPort = application.port;
  const entrance = world.listenOutbound();
  const { libc, openssl } = counts();
  const connections = 50;
  for (let i = 0; i < connections; i++) {
    let client: PingPong | undefined;
    dialRaw(reactor, way === 'tunnel' ? entrance.port : application.port, (stream) => {
      client = new PingPong(reactor, stream);
      client.start(1);
    });
    await pump(reactor, 'a round trip', () => client?.left === 0);
    client?.close(reactor);
    servers.pop()?.close(reactor);
  }
  await pump(reactor, 'the ends', () => world.outbound.slice(1).every(({ end }) => end !== undefined));
  entrance.listener.close();
  application.listener.close();
  return {
    libc: libc.all({ except: ['epollWait', 'errno'] }) / connections,
    openssl: openssl.all() / connections,
    calls: `${libc}; ${openssl}`,
  };
}
