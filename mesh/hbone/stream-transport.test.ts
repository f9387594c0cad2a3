// HTTP connections inside a tunnel: a pair of tunnels on one reactor, a transport on either end of a CONNECT stream.

import { randomFillSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode } from '../h2/error.ts';
import type { Header } from '../h2/header.ts';
import type { H2Session } from '../h2/session.ts';
import type { H2Stream } from '../h2/stream.ts';
import { Http1ClientConnection } from '../http/client-connection.ts';
import type { HttpClientConnection, HttpServerConnection } from '../http/connection.ts';
import type { ByteSink } from '../http/byte-transport.ts';
import { H2ClientConnection, H2ServerConnection } from '../http/h2-connection.ts';
import { InputBudget } from '../http/head-gatherer.ts';
import { Http1ServerConnection } from '../http/server-connection.ts';
import { RecordedStream } from '../http/testing/recorded-stream.ts';
import type { Version } from '../http/testing/http-world.ts';
import { HEAD_ROOM, Slab } from '../io/slab.ts';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump } from '../io/testing/pump.ts';
import { StreamTransport } from './stream-transport.ts';
import { TunnelWorld } from './testing/tunnel-world.ts';

const megabyte = 1 << 20;
const source = randomFillSync(Buffer.allocUnsafe(4 * megabyte)).toString('latin1');

/** Writes down what a transport tells it. */
class RecordedSink implements ByteSink {
  readonly events: string[] = [];
  text = '';
  onReceive: () => void = () => {};

  receive(slab: Slab, offset: number, length: number): void {
    if (offset < HEAD_ROOM) throw new Error(`Octets at ${offset}`);
    this.text += slab.bytes.toString('latin1', offset, offset + length);
    this.onReceive();
  }

  ended(): void {
    this.events.push('ended');
  }

  onTransportWritable(): void {
    this.events.push('writable');
  }

  closed(reason: string | undefined): void {
    this.events.push(`closed: ${reason ?? 'in order'}`);
  }
}

let world: TunnelWorld;
let before: number;
let server: StreamTransport | undefined;
/** Below the newest transport of the client. */
let nearStream: { readonly stream: H2Stream; readonly session: H2Session } | undefined;

beforeEach(async () => {
  before = openDescriptors();
  server = undefined;
  world = await TunnelWorld.create({
    onRequest: (request) => {
      server = new StreamTransport(world.reactor, {
        stream: request.stream,
        session: request.tunnel.session,
        budget: world.budget,
      });
      request.accept([], server);
    },
  });
});

afterEach(async () => {
  await world.close();
  expect(world.errors).toEqual([]);
  expect(openDescriptors()).toBe(before);
});

/** Both ends of a stream through a new tunnel. */
async function through(): Promise<{ client: StreamTransport; server: StreamTransport }> {
  server = undefined;
  let client: StreamTransport | undefined;
  world.request({
    onFailed: (error) => world.errors.push(error),
    onConnected: (stream, session) => {
      nearStream = { stream, session };
      client = new StreamTransport(world.reactor, { stream, session, budget: world.budget });
      return client;
    },
  });
  await pump(world.reactor, 'the stream', () => client !== undefined && server !== undefined);
  return { client: client as unknown as StreamTransport, server: server as unknown as StreamTransport };
}

async function sinks(): Promise<{
  near: StreamTransport;
  far: StreamTransport;
  nearSink: RecordedSink;
  farSink: RecordedSink;
}> {
  const { client, server: other } = await through();
  const nearSink = new RecordedSink();
  const farSink = new RecordedSink();
  client.attach(nearSink);
  other.attach(farSink);
  return { near: client, far: other, nearSink, farSink };
}

function write(transport: StreamTransport, text: string): void {
  const slab = new Slab(HEAD_ROOM + text.length);
  slab.bytes.fill(0x2e, 0, HEAD_ROOM);
  slab.bytes.write(text, HEAD_ROOM, 'latin1');
  transport.write(slab, HEAD_ROOM, text.length);
  expect(slab.bytes.toString('latin1')).toBe('.'.repeat(HEAD_ROOM) + text);
}

describe('a transport over a stream', () => {
  it('carries small and large writes in order, and ends one direction after the other', async () => {
    const { near, far, nearSink, farSink } = await sinks();
    write(near, 'small ');
    write(near, source.slice(0, 100_000));
    write(near, ' small');
    near.endWrite();
    await pump(world.reactor, 'the end', () => farSink.events.includes('ended'));
    expect(farSink.text === `small ${source.slice(0, 100_000)} small`).toBe(true);
    write(far, 'back');
    far.endWrite();
    await pump(world.reactor, 'both ends', () => farSink.events.length === 2 && nearSink.events.length === 2);
    expect([nearSink.text, nearSink.events, farSink.events]).toEqual([
      'back',
      ['ended', 'closed: in order'],
      ['ended', 'closed: in order'],
    ]);
  });

  it('says how much it takes, and when it takes more', async () => {
    const { near, far, nearSink, farSink } = await sinks();
    far.pause();
    let written = 0;
    await pump(world.reactor, 'the transport to be full', () => {
      const room = near.room();
      if (room === 0) return nearSink.events.length === 0 && near.buffered > 200_000;
      write(near, source.slice(written % megabyte, (written % megabyte) + Math.min(room, 60_000)));
      written += Math.min(room, 60_000);
      return false;
    });
    expect(written).toBeGreaterThan(megabyte);
    expect(farSink.text).toBe('');
    // No more than the window of the stream, and what the sender may queue.
    expect(far.buffered + near.buffered).toBe(written);
    far.resume();
    await pump(
      world.reactor,
      'the rest',
      () => farSink.text.length === written && nearSink.events.includes('writable'),
    );
    expect(world.budget.used).toBe(0);
  });

  it('delivers nothing more once its sink paused it in the middle', async () => {
    const { near, far, farSink } = await sinks();
    far.pause();
    write(near, source.slice(0, 200_000));
    await pump(world.reactor, 'all to arrive', () => far.buffered === 200_000);
    farSink.onReceive = () => far.pause();
    far.resume();
    await pump(world.reactor, 'a part', () => farSink.text.length > 0);
    expect(farSink.text.length).toBeLessThan(100_000);
    const rest = far.buffered;
    expect(rest + farSink.text.length).toBe(200_000);
    far.destroy();
    expect(world.budget.used).toBe(near.buffered);
  });

  it('still sends what the stream takes when the budget is spent', async () => {
    const { near, farSink } = await sinks();
    const others: Slab[] = [];
    for (let chunk = world.budget.take(); chunk !== undefined; chunk = world.budget.take())
      others.push(chunk);
    write(near, 'no room ');
    const bare = new Slab(8);
    bare.bytes.write('for this', 0);
    near.write(bare, 0, 8);
    await pump(world.reactor, 'the words', () => farSink.text === 'no room for this');
    for (const chunk of others) world.budget.give(chunk);
  });

  it('tells a reset from an end', async () => {
    for (const [code, event] of [
      [ErrorCode.CANCEL, 'closed: the tunnel reset the stream: CANCEL'],
      [ErrorCode.NO_ERROR, 'ended closed: in order'],
    ] as const) {
      const { farSink } = await sinks();
      nearStream?.stream.reset(code);
      nearStream?.session.flush();
      await pump(world.reactor, 'the end', () => farSink.events.at(-1)?.startsWith('closed') === true);
      expect(farSink.events.join(' ')).toBe(event);
    }
  });

  it('ends after what was written, whether the peer ends or not', async () => {
    const { near, nearSink, farSink } = await sinks();
    write(near, 'last words');
    near.end();
    await pump(
      world.reactor,
      'the end',
      () => farSink.events.includes('ended') && nearSink.events.length > 0,
    );
    expect([farSink.text, nearSink.events]).toEqual(['last words', ['closed: in order']]);
    await pump(world.reactor, 'the other end', () => farSink.events.length === 2);
  });

  it('is dropped at once without a word to its sink', async () => {
    const { near, nearSink, farSink } = await sinks();
    write(near, 'lost');
    near.destroy();
    near.destroy();
    await pump(world.reactor, 'the other end', () => farSink.events.length > 0);
    expect([nearSink.events, farSink.events]).toEqual([[], ['closed: the tunnel reset the stream: CANCEL']]);
  });

  it('hands over to another sink', async () => {
    const { near, far, farSink } = await sinks();
    write(near, 'first');
    await pump(world.reactor, 'the first', () => farSink.text === 'first');
    const next = new RecordedSink();
    far.attach(next);
    write(near, 'second');
    await pump(world.reactor, 'the second', () => next.text === 'second');
    expect(farSink.text).toBe('first');
  });
});

describe.each(['http1', 'h2'] as const)('a connection of %s in a tunnel', (version: Version) => {
  it('carries requests with large bodies both ways', async () => {
    const ends = await through();
    const budget = new InputBudget(1 << 20);
    const closed: string[] = [];
    const handler = {
      onRequest: (stream: RecordedStream['stream'], list: readonly Header[]) => {
        const recorded = new RecordedStream();
        recorded.stream = stream;
        recorded.head = list;
        let sent = 0;
        const push = () => {
          for (
            let room = stream.sendAllowance();
            sent < recorded.body.length && room > 0;
            room = stream.sendAllowance()
          ) {
            const piece = recorded.body.slice(sent, sent + Math.min(room, 50_000));
            sent += piece.length;
            recorded.write(piece);
          }
          if (sent === recorded.body.length) stream.endData();
        };
        recorded.onEvent = (event) => {
          if (event === 'end') stream.respond([[':status', '200']], false);
          if (event === 'end' || event === 'writable') push();
        };
        return recorded;
      },
      onClosed: () => closed.push('server'),
    };
    const events = { onAvailable: () => {}, onRetired: () => {}, onClosed: () => closed.push('client') };
    const serving: HttpServerConnection =
      version === 'h2'
        ? new H2ServerConnection(world.reactor, ends.server, { handler })
        : new Http1ServerConnection(world.reactor, ends.server, { scheme: 'http', handler, budget });
    const connection: HttpClientConnection =
      version === 'h2'
        ? new H2ClientConnection(world.reactor, ends.client, { handler: events })
        : new Http1ClientConnection(world.reactor, ends.client, { handler: events, budget });
    for (const size of [10, megabyte, 3 * megabyte]) {
      const recorded = new RecordedStream();
      const stream = connection.request(
        [
          [':method', 'POST'],
          [':scheme', 'http'],
          [':authority', 'a'],
          [':path', '/'],
        ],
        false,
        recorded,
      );
      if (stream === undefined) throw new Error('No request can be made');
      recorded.stream = stream;
      let sent = 0;
      const push = () => {
        for (let room = stream.sendAllowance(); sent < size && room > 0; room = stream.sendAllowance()) {
          const piece = source.slice(sent, Math.min(size, sent + room, sent + 70_000));
          sent += piece.length;
          recorded.write(piece, sent === size);
        }
      };
      recorded.onEvent = (event) => event === 'writable' && push();
      push();
      await pump(world.reactor, 'the echo', () => recorded.events.includes('end'));
      expect(recorded.body === source.slice(0, size)).toBe(true);
    }
    connection.drain();
    serving.drain();
    await pump(world.reactor, 'both ends', () => closed.length === 2);
    expect([world.budget.used, budget.used]).toEqual([0, 0]);
  });
});
