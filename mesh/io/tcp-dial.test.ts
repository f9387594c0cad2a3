import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import type { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { Reactor } from './reactor.ts';
import { bindSource, createTcpSocket, listenTcp, localAddress, remoteAddress } from './socket.ts';
import { familyOf, type SocketAddress } from './socket-address.ts';
import { TcpDial } from './tcp-dial.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump } from './testing/pump.ts';

let reactor: Reactor;
let before: number;

beforeEach(() => {
  before = openDescriptors();
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
});

afterEach(() => {
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

type Outcome = number | IoError;

function dial(target: SocketAddress, timeoutMs = 5_000): { dial: TcpDial; outcomes: Outcome[] } {
  const outcomes: Outcome[] = [];
  const attempt = new TcpDial(reactor, createTcpSocket(familyOf(target.address)), {
    target,
    timeoutMs,
    onConnected: ({ fd }) => outcomes.push(fd),
    onFailed: (error) => outcomes.push(error),
  });
  expect(outcomes).toEqual([]);
  return { dial: attempt, outcomes };
}

async function outcome(target: SocketAddress, timeoutMs?: number): Promise<Outcome> {
  const { outcomes } = dial(target, timeoutMs);
  await pump(reactor, 'an outcome', () => outcomes.length > 0);
  reactor.turn(0);
  expect(outcomes).toHaveLength(1);
  return outcomes[0] as Outcome;
}

/** A listener with a full queue: further SYNs are dropped. Returns what to close. */
async function fullListener(): Promise<{ at: SocketAddress; fds: number[] }> {
  const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 }, { backlog: 1 });
  const at = localAddress(fd);
  // A queue of 1 holds 2 connections.
  const held = [(await outcome(at)) as number, (await outcome(at)) as number];
  return { at, fds: [fd, ...held] };
}

function closedPort(): number {
  const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 });
  const { port } = localAddress(fd);
  libc.close(fd);
  return port;
}

describe('TcpDial', () => {
  it.each(['127.0.0.1', '::1'])('connects to %s and hands the descriptor over', async (host) => {
    const accepted: Socket[] = [];
    const server: Server = createServer((socket) => accepted.push(socket.on('error', () => {})));
    server.listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const fd = (await outcome({ address: ip(host), port })) as number;
    expect(remoteAddress(fd)).toEqual({ address: host, port });
    await pump(reactor, 'accept', () => accepted.length === 1);
    expect(accepted[0]?.remotePort).toBe(localAddress(fd).port);
    libc.close(fd);
    accepted[0]?.destroy();
    server.close();
    await once(server, 'close');
  });

  it('leaves from the source address it was bound to', async () => {
    const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 });
    const socket = createTcpSocket(libc.AF_INET);
    bindSource(socket, { address: ip('127.0.0.9'), port: 0 });
    let connected = -1;
    new TcpDial(reactor, socket, {
      target: localAddress(fd),
      timeoutMs: 5_000,
      onConnected: ({ fd: each }) => {
        connected = each;
      },
      onFailed: (error) => expect.fail(error.message),
    });
    await pump(reactor, 'connected', () => connected >= 0);
    expect(localAddress(connected).address).toBe('127.0.0.9');
    libc.close(connected);
    libc.close(fd);
  });

  it('says who refused', async () => {
    const port = closedPort();
    const error = (await outcome({ address: ip('127.0.0.1'), port })) as IoError;
    expect(error.code).toBe('connect-failed');
    expect(error.errno).toBe(libc.ECONNREFUSED);
    expect(error.message).toBe(
      `Could not connect to 127.0.0.1 port ${port}: ECONNREFUSED: Connection refused`,
    );
  });

  it('reports a connect that fails at once from the loop, not from the call', async () => {
    // An IPv4 socket with an IPv6 target: EAFNOSUPPORT from connect() itself.
    const failures: IoError[] = [];
    new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
      target: { address: ip('::1'), port: 9 },
      timeoutMs: 5_000,
      onConnected: () => expect.fail('connected'),
      onFailed: (error) => failures.push(error),
    });
    expect(failures).toEqual([]);
    reactor.turn(0);
    expect(failures.map(({ code }) => code)).toEqual(['connect-failed']);
    expect(failures[0]?.message).toContain('EAFNOSUPPORT');
  });

  it('gives up on a peer that does not answer in time, and closes the socket', async () => {
    const { at, fds } = await fullListener();
    const error = (await outcome(at, 40)) as IoError;
    expect(error.code).toBe('connect-timeout');
    expect(error.message).toBe(`Could not connect to 127.0.0.1 port ${at.port}: no answer in 40 ms`);
    for (const fd of fds) libc.close(fd);
  });

  it('calls nobody after cancel(), wherever the connect was', async () => {
    const { at, fds } = await fullListener();
    const waiting = dial(at, 30);
    reactor.turn(0);
    const refused = dial({ address: ip('127.0.0.1'), port: closedPort() });
    for (const each of [waiting, refused]) {
      each.dial.cancel();
      each.dial.cancel();
    }
    let passed = false;
    reactor.after(60, () => {
      passed = true;
    });
    await pump(reactor, 'the deadline to pass', () => passed);
    expect([...waiting.outcomes, ...refused.outcomes]).toEqual([]);
    for (const fd of fds) libc.close(fd);
  });
});
