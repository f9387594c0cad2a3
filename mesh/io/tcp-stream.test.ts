// The guard of an accepted connection, against an application on node:net.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import * as libc from './libc.ts';
import { type IoHandler, Reactor } from './reactor.ts';
import { createTcpSocket } from './socket.ts';
import { TcpDial } from './tcp-dial.ts';
import { TcpStream } from './tcp-stream.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump, pumpUntil } from './testing/pump.ts';

let reactor: Reactor;
let before: number;
let server: Server;
let peer: Socket;
let stream: TcpStream;
let resets: number;

beforeEach(async () => {
  before = openDescriptors();
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
  server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  let fd = -1;
  new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
    target: { address: ip('127.0.0.1'), port: (server.address() as AddressInfo).port },
    timeoutMs: 5_000,
    onConnected: (connected) => {
      // As one that was accepted: not on the loop yet.
      reactor.unregister(connected.fd);
      fd = connected.fd;
    },
    onFailed: (error) => {
      throw error;
    },
  });
  await pump(reactor, 'the connection', () => fd >= 0);
  [peer] = (await pumpUntil(reactor, 'the other end', accepted)) as [Socket];
  peer.on('error', () => {});
  stream = new TcpStream(fd);
  resets = 0;
  stream.guard(reactor, () => resets++);
});

afterEach(async () => {
  stream.close();
  peer.destroy();
  server.close();
  await pumpUntil(reactor, 'the end', once(server, 'close'));
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

/** What the next owner is told until something is readable. */
async function told(handler: { readonly events: number[] } & IoHandler): Promise<number> {
  await pump(reactor, 'an event', () => handler.events.some((events) => (events & libc.EPOLLIN) !== 0));
  return handler.events.reduce((all, events) => all | events, 0);
}

function recorder() {
  const events: number[] = [];
  return { events, onReady: (bits: number) => void events.push(bits) };
}

describe('guard()', () => {
  it('tells of a reset', async () => {
    peer.resetAndDestroy();
    await pump(reactor, 'the reset', () => resets > 0);
  });

  it('says nothing of an end, which the next owner is told', async () => {
    peer.end('bytes');
    const next = recorder();
    await pumpUntil(reactor, 'the bytes to be sent', once(peer, 'finish'));
    stream.watch(reactor, next);
    expect((await told(next)) & libc.EPOLLRDHUP).not.toBe(0);
    expect(resets).toBe(0);
  });

  it('hands on exactly what it saw, so that its owner looks for no end that nobody announced', async () => {
    const next = recorder();
    await new Promise<void>((resolve) => peer.write('bytes', () => resolve()));
    for (let i = 0; i < 5; i++) reactor.turn(1);
    stream.watch(reactor, next);
    const ended = libc.EPOLLRDHUP | libc.EPOLLHUP | libc.EPOLLERR | libc.EPOLLPRI;
    expect((await told(next)) & ended).toBe(0);
  });

  it('hands over a connection that was silent so far', async () => {
    const next = recorder();
    for (let i = 0; i < 5; i++) reactor.turn(1);
    stream.watch(reactor, next);
    for (let i = 0; i < 5; i++) reactor.turn(1);
    expect(next.events).toEqual([]);
    peer.write('late');
    await told(next);
  });

  it('ends with the stream', async () => {
    stream.reset();
    peer.resetAndDestroy();
    for (let i = 0; i < 5; i++) reactor.turn(1);
    expect(resets).toBe(0);
  });
});
