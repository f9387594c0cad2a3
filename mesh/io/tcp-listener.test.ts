import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import * as libc from './libc.ts';
import { Reactor } from './reactor.ts';
import { listenTcp, localAddress } from './socket.ts';
import type { SocketAddress } from './socket-address.ts';
import { TcpListener, type TcpListenerOptions } from './tcp-listener.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump } from './testing/pump.ts';

let reactor: Reactor;
let before: number;
let clients: Socket[];

beforeEach(() => {
  before = openDescriptors();
  clients = [];
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
});

afterEach(async () => {
  const closed = clients.filter((client) => !client.closed).map((client) => once(client, 'close'));
  for (const client of clients) client.destroy();
  await Promise.all(closed);
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

function listen(options: TcpListenerOptions, address = '127.0.0.1'): { listener: TcpListener; port: number } {
  const fd = listenTcp({ address: ip(address), port: 0 });
  return { listener: new TcpListener(reactor, fd, options), port: localAddress(fd).port };
}

function dial(port: number, host = '127.0.0.1'): Socket {
  const client = connect(port, host).on('error', () => {});
  clients.push(client);
  return client;
}

describe('TcpListener', () => {
  it.each(['127.0.0.1', '::1'])('hands on connections at %s with the address of the client', async (host) => {
    const got: { fd: number; remote: SocketAddress }[] = [];
    const { listener, port } = listen({ onConnection: (fd, remote) => got.push({ fd, remote }) }, host);
    const some = Array.from({ length: 100 }, () => dial(port, host));
    await pump(reactor, '100 connections', () => got.length === 100);
    await Promise.all(some.filter((client) => client.connecting).map((client) => once(client, 'connect')));
    expect(new Set(got.map(({ remote }) => remote.port))).toEqual(new Set(some.map((c) => c.localPort)));
    expect(new Set(got.map(({ remote }) => remote.address))).toEqual(new Set([host]));
    for (const { fd } of got) libc.close(fd);
    listener.close();
  });

  it('leaves connections in the queue while admit() says no, and takes them when it says yes', async () => {
    let admitted = 1;
    const got: number[] = [];
    const { listener, port } = listen({
      onConnection: (fd) => got.push(fd),
      admit: () => got.length < admitted,
    });
    const three = Array.from({ length: 3 }, () => dial(port));
    await Promise.all(three.map((client) => once(client, 'connect')));
    await pump(reactor, 'the first', () => got.length === 1);
    // The listener is paused: more turns accept nothing.
    for (let i = 0; i < 10; i++) reactor.turn(0);
    expect(got).toHaveLength(1);
    admitted = 3;
    await pump(reactor, 'the others', () => got.length === 3);
    for (const fd of got) libc.close(fd);
    listener.close();
  });

  it('refuses new connections after close(), also when paused, and keeps those handed on', async () => {
    const got: number[] = [];
    const { listener, port } = listen({ onConnection: (fd) => got.push(fd), admit: () => got.length === 0 });
    await once(dial(port), 'connect');
    await pump(reactor, 'the first', () => got.length === 1);
    await once(dial(port), 'connect');
    reactor.turn(0);
    listener.close();
    listener.close();
    const [error] = (await once(dial(port), 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    expect(clients[0]?.destroyed).toBe(false);
    let passed = false;
    reactor.after(120, () => {
      passed = true;
    });
    await pump(reactor, 'the pause to end', () => passed);
    libc.close(got[0] as number);
  });

  it('pauses without descriptors, says so, and loses no connection', async () => {
    const child = spawn('sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', process.execPath, childPath, '150'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>;
    const { port } = await next();
    for (let i = 0; i < 150; i++) dial(Number(port));
    const paused = await next();
    expect(paused).toMatchObject({
      code: 'out-of-descriptors',
      message: expect.stringMatching(/^Accepting is paused: EMFILE: .*raise the open file limit$/),
    });
    expect(paused.held).toBeGreaterThan(0);
    expect(await next()).toEqual({ accepted: 150 });
    expect(await exited).toEqual([0, null]);
  });
});

const childPath = fileURLToPath(new URL('./testing/descriptor-limit-child.ts', import.meta.url));
