// TcpTransport against node:net, which knows nothing of it.

import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ByteSink } from '../http/byte-transport.ts';
import { ip } from '../model/fixture.ts';
import { BufferBudget } from './byte-queue.ts';
import { Reactor } from './reactor.ts';
import { HEAD_ROOM, Slab } from './slab.ts';
import { listenTcp, localAddress } from './socket.ts';
import { TcpListener } from './tcp-listener.ts';
import { TcpTransport } from './tcp-transport.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump, pumpUntil } from './testing/pump.ts';

const megabyte = 1 << 20;
const source = randomFillSync(Buffer.allocUnsafe(4 * megabyte)).toString('latin1');

let before: number;
let errors: unknown[];
let reactor: Reactor;
let budget: BufferBudget;
let transport: TcpTransport;
let peer: Socket;
let events: string[];
let text: string;
let onReceive: () => void;

const sink: ByteSink = {
  receive: (slab, offset, length) => {
    if (offset < HEAD_ROOM) throw new Error(`Octets at ${offset}`);
    text += slab.bytes.toString('latin1', offset, offset + length);
    onReceive();
  },
  ended: () => events.push('ended'),
  onTransportWritable: () => events.push('writable'),
  closed: (reason) => events.push(`closed: ${reason ?? 'in order'}`),
};

beforeEach(async () => {
  before = openDescriptors();
  errors = [];
  events = [];
  text = '';
  onReceive = () => {};
  budget = new BufferBudget(megabyte);
  reactor = new Reactor({ onError: (error) => errors.push(error) });
  const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 });
  let made: TcpTransport | undefined;
  const listener = new TcpListener(reactor, fd, {
    onConnection: (accepted) => {
      made = new TcpTransport(reactor, accepted, { budget });
      made.attach(sink);
    },
  });
  peer = connect({ port: localAddress(fd).port, host: '127.0.0.1', allowHalfOpen: true });
  peer.on('error', () => {});
  peer.pause();
  await pump(reactor, 'the connection', () => made !== undefined);
  transport = made as unknown as TcpTransport;
  listener.close();
});

afterEach(async () => {
  const gone = peer.closed ? undefined : once(peer, 'close');
  peer.destroy();
  transport.destroy();
  if (gone !== undefined) await pumpUntil(reactor, 'the peer to close', gone);
  expect([errors, budget.used]).toEqual([[], 0]);
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

function write(what: string): void {
  const slab = new Slab(HEAD_ROOM + what.length);
  slab.bytes.write(what, HEAD_ROOM, 'latin1');
  transport.write(slab, HEAD_ROOM, what.length);
  slab.bytes.fill(0);
}

/** All the peer reads until its end. */
async function readPeer(): Promise<string> {
  let read = '';
  peer.on('data', (chunk: Buffer) => {
    read += chunk.toString('latin1');
  });
  await pumpUntil(reactor, 'the end at the peer', once(peer.resume(), 'end'));
  return read;
}

/** Takes all of the budget, as slow peers of others would. */
function spendBudget(): Slab[] {
  const others: Slab[] = [];
  for (let chunk = budget.take(); chunk !== undefined; chunk = budget.take()) others.push(chunk);
  return others;
}

/** Writes until the transport is full; returns how much. */
async function fill(): Promise<number> {
  let written = 0;
  let quiet = 0;
  await pump(reactor, 'the transport to be full', () => {
    const room = transport.room();
    if (room === 0) return ++quiet > 20;
    quiet = 0;
    write(source.slice(0, Math.min(room, 100_000)));
    written += Math.min(room, 100_000);
    return false;
  });
  return written;
}

describe('TcpTransport', () => {
  it('sends small and large writes in order, small ones at the end of the turn', async () => {
    write('small ');
    write(source.slice(0, 200_000));
    write(' small');
    transport.endWrite();
    expect((await readPeer()) === `small ${source.slice(0, 200_000)} small`).toBe(true);
    expect([transport.buffered, events]).toEqual([0, []]);
  });

  it('says when it is full and when it takes more, and loses nothing', async () => {
    const written = await fill();
    expect(transport.buffered).toBeLessThanOrEqual(256 * 1024);
    let read = 0;
    peer.on('data', (chunk: Buffer) => {
      read += chunk.length;
    });
    peer.resume();
    await pump(reactor, 'the rest', () => read === written && events.length === 1);
    expect([events, transport.room() > 200_000]).toEqual([['writable'], true]);
  });

  it('reads nothing while it is paused, and goes on where it stood', async () => {
    onReceive = () => transport.pause();
    peer.write(source, 'latin1');
    await pump(reactor, 'the first octets', () => text.length > 0);
    const first = text.length;
    for (let i = 0; i < 10; i++) reactor.turn(1);
    expect(text.length).toBe(first);
    onReceive = () => {};
    transport.resume();
    await pump(reactor, 'all', () => text.length === source.length);
    expect(text === source).toBe(true);
  });

  it('notices a reset while it is paused', async () => {
    transport.pause();
    peer.write('unread');
    reactor.turn(1);
    peer.resetAndDestroy();
    await pump(reactor, 'the end', () => events.length > 0);
    expect([events[0], text]).toEqual([expect.stringContaining('ECONNRESET'), '']);
  });

  it('half-closes in either order', async () => {
    peer.end('request');
    await pump(reactor, 'the end of the peer', () => events.includes('ended'));
    expect([text, events]).toEqual(['request', ['ended']]);
    write('answer');
    transport.endWrite();
    expect(await readPeer()).toBe('answer');
    await pump(reactor, 'both ends', () => events.length === 2);
    expect(events).toEqual(['ended', 'closed: in order']);
  });

  it('ends after what was written, and reads the rest of the peer away', async () => {
    write('last words');
    transport.end();
    peer.write(source, 'latin1');
    expect(await readPeer()).toBe('last words');
    peer.end();
    await pump(reactor, 'the end', () => events.length > 0);
    expect([events, text]).toEqual([['closed: in order'], '']);
  });

  it('ends a peer that does not close', async () => {
    transport.end();
    await pump(reactor, 'the end', () => events.length > 0);
    expect(events).toEqual(['closed: in order']);
  });

  it('is dropped at once, with a reset and without a word to its sink', async () => {
    await fill();
    const broken = once(peer, 'error') as Promise<[NodeJS.ErrnoException]>;
    transport.destroy();
    transport.destroy();
    peer.resume();
    expect((await pumpUntil(reactor, 'the reset', broken))[0].code).toBe('ECONNRESET');
    expect([events, budget.used]).toEqual([[], 0]);
  });

  it('that is dropped in the turn of a write lets the peer have what the kernel takes', async () => {
    let received = '';
    peer.on('data', (part) => (received += part.toString('latin1'))).resume();
    const broken = once(peer, 'error') as Promise<[NodeJS.ErrnoException]>;
    write('the head of a cut answer');
    transport.destroy();
    expect((await pumpUntil(reactor, 'the reset', broken))[0].code).toBe('ECONNRESET');
    expect(received).toBe('the head of a cut answer');
  });

  it('still sends what the kernel takes when the budget is spent', async () => {
    const others = spendBudget();
    write('no room ');
    write('for this');
    transport.endWrite();
    expect(await readPeer()).toBe('no room for this');
    for (const chunk of others) budget.give(chunk);
  });

  it('is dropped when the budget is spent and its peer is slow, and its sink is told by the loop', async () => {
    await fill();
    const others = spendBudget();
    peer.pause();
    events.length = 0;
    for (let i = 0; i < 8 && events.length === 0; i++) write(source.slice(0, 60_000));
    expect(events).toEqual([]);
    reactor.turn(0);
    expect(events).toEqual(['closed: the buffer budget is spent']);
    for (const chunk of others) budget.give(chunk);
  });

  it('tells of a peer that broke while it wrote', async () => {
    peer.resetAndDestroy();
    await pump(reactor, 'the end', () => {
      write('x');
      return events.length > 0;
    });
    expect(events).toEqual([expect.stringMatching(/^closed: connection broke/)]);
    expect(transport.room()).toBe(0);
  });
});
