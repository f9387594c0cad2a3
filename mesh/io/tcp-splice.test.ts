// Two applications on node:net, joined by a splice on loopback.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import { BufferBudget } from './byte-queue.ts';
import * as libc from './libc.ts';
import { Reactor } from './reactor.ts';
import { Slab } from './slab.ts';
import { createTcpSocket, listenTcp, localAddress } from './socket.ts';
import { TcpDial } from './tcp-dial.ts';
import { TcpListener } from './tcp-listener.ts';
import { TcpSplice, type TcpSpliceEnd, type TcpSpliceOptions } from './tcp-splice.ts';
import { TcpStream } from './tcp-stream.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump, pumpUntil } from './testing/pump.ts';

const loopback = ip('127.0.0.1');

let reactor: Reactor;
let before: number;
let server: Server;
let sockets: Socket[];
let budget: BufferBudget;

beforeEach(async () => {
  before = openDescriptors();
  sockets = [];
  budget = new BufferBudget(64 * 1024 * 1024);
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  const open = sockets.filter((socket) => !socket.closed).map((socket) => closed(socket));
  for (const socket of sockets) socket.destroy();
  server.close();
  await Promise.all(open);
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
  expect(budget.used).toBe(0);
});

interface Joined {
  readonly client: Socket;
  readonly app: Socket;
  readonly splice: TcpSplice;
  readonly ends: TcpSpliceEnd[];
}

/** client -> splice -> app, both ends paused. */
async function join(options: Partial<TcpSpliceOptions> = {}): Promise<Joined> {
  const ends: TcpSpliceEnd[] = [];
  let splice: TcpSplice | undefined;
  const listening = listenTcp({ address: loopback, port: 0 });
  const listener = new TcpListener(reactor, listening, {
    onConnection: (fd) => {
      new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
        target: { address: loopback, port: (server.address() as AddressInfo).port },
        timeoutMs: 5_000,
        onFailed: (error) => expect.fail(error.message),
        onConnected: (connected) => {
          splice = new TcpSplice(reactor, new TcpStream(fd), new TcpStream(connected), {
            budget,
            idleTimeoutMs: 0,
            halfClosedTimeoutMs: 60_000,
            onEnd: (end) => ends.push(end),
            ...options,
          });
        },
      });
    },
  });
  const accepted = once(server, 'connection');
  const client = connect({ port: localAddress(listening).port, host: '127.0.0.1', allowHalfOpen: true });
  client.pause();
  sockets.push(client.on('error', () => {}));
  const [app] = (await pumpUntil(reactor, 'the application', accepted)) as [Socket];
  sockets.push(app.on('error', () => {}));
  await pump(reactor, 'the splice', () => splice !== undefined);
  listener.close();
  return { client, app, splice: splice as unknown as TcpSplice, ends };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** What `socket` reads until its end: `end` in order, or the code of its error. */
async function readAll(socket: Socket): Promise<{ bytes: Buffer; how: string }> {
  const chunks: Buffer[] = [];
  return await new Promise((resolve) => {
    const done = (how: string) => resolve({ bytes: Buffer.concat(chunks), how });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => done('end'));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    socket.resume();
  });
}

const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('TcpSplice', () => {
  it('carries both directions, each with its own end, and counts', async () => {
    const { client, app, splice, ends } = await join();
    const request = randomBytes(3_000_000);
    const response = randomBytes(5_000_000);
    client.end(request);
    const atApp = await pumpUntil(reactor, 'the request', readAll(app));
    expect(atApp.how).toBe('end');
    expect(sha(atApp.bytes)).toBe(sha(request));
    expect(ends).toEqual([]);
    app.end(response);
    const atClient = await pumpUntil(reactor, 'the response', readAll(client));
    expect(sha(atClient.bytes)).toBe(sha(response));
    await pump(reactor, 'the end', () => ends.length === 1);
    expect(ends).toEqual(['finished']);
    expect([splice.forwardBytes, splice.backwardBytes]).toEqual([request.length, response.length]);
  });

  it('the application may end first', async () => {
    const { client, app, ends } = await join();
    app.end('first');
    expect((await pumpUntil(reactor, 'the end', readAll(client))).bytes.toString()).toBe('first');
    client.end('last');
    expect((await pumpUntil(reactor, 'the end', readAll(app))).bytes.toString()).toBe('last');
    await pump(reactor, 'the end', () => ends.length === 1);
    expect(ends).toEqual(['finished']);
  });

  it('carries a reset over, from either side', async () => {
    for (const side of ['client', 'app'] as const) {
      const joined = await join();
      const other = side === 'client' ? joined.app : joined.client;
      const seen = readAll(other);
      joined[side].resetAndDestroy();
      expect((await pumpUntil(reactor, `the reset of the ${side}`, seen)).how).toBe('ECONNRESET');
      expect(joined.ends).toEqual(['reset']);
    }
  });

  it('notices a reset behind a half-close, when nothing is read any more', async () => {
    const { client, app, ends } = await join();
    client.end('request');
    await pumpUntil(reactor, 'the request', readAll(app));
    client.resetAndDestroy();
    await pump(reactor, 'the end', () => ends.length === 1);
    expect(ends).toEqual(['reset']);
  });

  it('notices a reset of a sender that is not read because the other side is slow', async () => {
    const { client, ends, splice } = await join();
    client.write(Buffer.alloc(30_000_000));
    let quiet = 0;
    let last = -1;
    await pump(reactor, 'everything full', () => {
      quiet = splice.forwardBytes === last ? quiet + 1 : 0;
      last = splice.forwardBytes;
      return quiet > 50;
    });
    client.resetAndDestroy();
    await pump(reactor, 'the end', () => ends.length === 1);
    expect(ends).toEqual(['reset']);
  });

  it('goes on by itself when a slow side reads again after the sender is done', async () => {
    // All of it waits in the kernel and in the splice; no further event of the sender will come.
    const { client, app, ends } = await join();
    const bytes = randomBytes(12_000_000);
    client.end(bytes);
    let quiet = 0;
    let last = -1;
    await pump(reactor, 'everything full', () => {
      quiet = client.bytesWritten - client.writableLength === last ? quiet + 1 : 0;
      last = client.bytesWritten - client.writableLength;
      return quiet > 50;
    });
    const got = await pumpUntil(reactor, 'all of it', readAll(app));
    expect(sha(got.bytes)).toBe(sha(bytes));
    app.end();
    await pump(reactor, 'the end', () => ends.length === 1);
    expect(ends).toEqual(['finished']);
  });

  it('reads on behind urgent data, which it drops', async () => {
    const { client, app, ends } = await join();
    const seen = readAll(app);
    const slab = new Slab(16);
    slab.bytes.write('abc!def', 'latin1');
    const fd = fdOf(client);
    const MSG_OOB = 1;
    libc.send(fd, slab.address, 3, 0);
    libc.send(fd, slab.address + 3, 1, MSG_OOB);
    libc.send(fd, slab.address + 4, 3, 0);
    let got = '';
    app.on('data', (chunk: Buffer) => {
      got += chunk.toString();
    });
    await pump(reactor, 'what came behind', () => got.endsWith('def'));
    client.end();
    expect((await pumpUntil(reactor, 'the end', seen)).bytes.toString()).toBe('abcdef');
    app.end();
    await pump(reactor, 'the end', () => ends.length === 1);
  });

  it('ends what is idle, and what stays half-closed, with a reset', async () => {
    const idle = await join({ idleTimeoutMs: 40 });
    expect((await pumpUntil(reactor, 'the idle timeout', readAll(idle.client))).how).toBe('ECONNRESET');
    expect(idle.ends).toEqual(['idle']);
    const half = await join({ halfClosedTimeoutMs: 40 });
    half.client.end();
    await pump(reactor, 'the half-closed timeout', () => half.ends.length === 1);
    expect(half.ends).toEqual(['idle']);
  });

  it('ends with a reset when the budget of the worker is spent', async () => {
    // Less than one chunk: nothing can wait.
    budget = new BufferBudget(1_000);
    const { client, ends } = await join({ budget });
    client.write(Buffer.alloc(30_000_000));
    await pump(reactor, 'the overload', () => ends.length === 1);
    expect(ends).toEqual(['overload']);
  });

  it('close() resets both sides, once', async () => {
    const { client, app, splice, ends } = await join();
    const seen = Promise.all([readAll(client), readAll(app)]);
    splice.close();
    splice.close();
    expect((await pumpUntil(reactor, 'both', seen)).map(({ how }) => how)).toEqual([
      'ECONNRESET',
      'ECONNRESET',
    ]);
    expect(ends).toEqual(['closed']);
  });
});
