// Peers that make the session work for nothing: every kind of flood ends the connection with ENHANCE_YOUR_CALM and says why,
// and the same frames in reasonable numbers, or paid for by real work, do not.

import { describe, expect, it } from 'vitest';
import { Slab } from '../io/slab.ts';
import { ErrorCode } from './error.ts';
import type { H2Stream, StreamHandler } from './stream.ts';
import { FakePeer, type PeerOptions } from './testing/fake-peer.ts';
import {
  block,
  CONNECT,
  dataFrame,
  frame,
  GET,
  headersFrame,
  POST,
  resetFrame,
  settingsFrame,
  windowUpdate,
  word,
} from './testing/frames.ts';

const ping = frame(6, 0, { payload: Buffer.alloc(8) });
const priority = frame(2, 1, { payload: Buffer.concat([word(0), Buffer.of(16)]) });
const slab = new Slab(1024);

/** Feeds `bytes(i)` until the session closes; returns how many it took. */
function flood(peer: FakePeer, bytes: (i: number) => Buffer, atMost: number): number {
  for (let i = 0; i < atMost; i += 1) {
    peer.feed(bytes(i));
    if (peer.session.closed) return i + 1;
  }
  return Number.POSITIVE_INFINITY;
}

function expectCalm(peer: FakePeer, text: RegExp): void {
  expect(peer.closedWith).toMatchObject({ code: 'ENHANCE_YOUR_CALM' });
  const goaway = peer.frames().at(-1);
  expect(goaway?.type).toBe(7);
  expect(goaway?.payload.readUInt32BE(4)).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  expect(goaway?.payload.toString('latin1', 8)).toMatch(text);
  expect(peer.session.openStreams).toBe(0);
}

function withStream(options: PeerOptions = {}): FakePeer {
  const peer = new FakePeer(options);
  peer.feed(headersFrame(1, POST));
  return peer;
}

const floods: {
  what: string;
  bytes: (i: number) => Buffer;
  limit: number;
  text: RegExp;
  options?: PeerOptions;
}[] = [
  {
    what: 'streams reset before an answer',
    bytes: (i) => Buffer.concat([headersFrame(3 + 2 * i, CONNECT), resetFrame(3 + 2 * i)]),
    limit: 100,
    text: /rapid reset/,
  },
  {
    what: 'malformed requests',
    bytes: (i) => headersFrame(3 + 2 * i, [...GET, ['X', '']]),
    limit: 200,
    text: /stream errors/,
  },
  {
    what: 'streams above the limit',
    bytes: (i) => headersFrame(3 + 2 * i, POST),
    limit: 200,
    text: /stream errors/,
    options: { settings: { maxConcurrentStreams: 1 } },
  },
  { what: 'SETTINGS', bytes: () => settingsFrame(), limit: 49, text: /SETTINGS/ },
  { what: 'PING', bytes: () => ping, limit: 500, text: /PING/ },
  { what: 'empty DATA', bytes: () => dataFrame(1, ''), limit: 200, text: /empty frames/ },
  {
    what: 'DATA of padding only',
    bytes: () => frame(0, 1, { flags: 8, payload: Buffer.of(2, 0, 0) }),
    limit: 200,
    text: /empty frames/,
  },
  { what: 'PRIORITY', bytes: () => priority, limit: 2000, text: /PRIORITY and unknown/ },
  {
    what: 'unknown frames',
    bytes: () => frame(0x77, 0, { payload: Buffer.alloc(9) }),
    limit: 2000,
    text: /PRIORITY and unknown/,
  },
  {
    what: 'RST_STREAM of closed streams',
    bytes: () => resetFrame(1),
    limit: 2001,
    text: /PRIORITY and unknown/,
  },
  { what: 'WINDOW_UPDATE', bytes: () => windowUpdate(0, 1), limit: 4000, text: /WINDOW_UPDATE/ },
];

describe('a flood', () => {
  it.each(floods)('of $what ends the connection after $limit', ({ bytes, limit, text, options }) => {
    const peer = withStream(options);
    expect(flood(peer, bytes, limit + 10)).toBe(limit + 1);
    expectCalm(peer, text);
  });

  it.each(floods.filter(({ what }) => what !== 'streams above the limit' && !what.startsWith('RST')))(
    'of $what is forgiven with time',
    ({ bytes, limit, options }) => {
      let nowMs = 1000;
      const peer = withStream({ ...options, now: () => nowMs });
      let taken = 0;
      // A third of the limit each 10 s, for five times the limit.
      for (let round = 0; round < 15 && !peer.session.closed; round += 1) {
        for (let i = 0; i < limit / 3; i += 1) peer.feed(bytes(taken++));
        nowMs += 10_000;
      }
      expect(peer.closedWith).toBe('open');
    },
  );

  it('of frames is paid for by frames with payload', () => {
    const peer = withStream({ connectionWindow: 1 << 20 });
    const stream = peer.streams.get(1) as H2Stream;
    const waste = Buffer.concat([ping, settingsFrame(), priority, dataFrame(1, ''), dataFrame(1, 'x')]);
    expect(flood(peer, () => (stream.consume(1), waste), 5000)).toBe(Number.POSITIVE_INFINITY);
  });

  it('of resets is not paid for by frames with payload', () => {
    const peer = withStream({ connectionWindow: 1 << 20 });
    const waste = (i: number): Buffer =>
      Buffer.concat([headersFrame(3 + 2 * i, CONNECT), dataFrame(3 + 2 * i, 'x'), resetFrame(3 + 2 * i)]);
    expect(flood(peer, waste, 200)).toBe(101);
  });

  it('of resets is paid for by answered streams', () => {
    const peer = new FakePeer({
      onStream: (stream, headers): StreamHandler | undefined => {
        if (headers.some(([name]) => name === 'answer')) stream.respond([[':status', '200']], true);
        return { onData: () => {}, onEnd: () => {}, onReset: () => {}, onWritable: () => {} };
      },
    });
    const pair = (i: number): Buffer =>
      Buffer.concat([
        headersFrame(1 + 4 * i, [...GET, ['answer', 'now']], { endStream: true }),
        headersFrame(3 + 4 * i, CONNECT),
        resetFrame(3 + 4 * i),
      ]);
    expect(flood(peer, pair, 1000)).toBe(Number.POSITIVE_INFINITY);
  });

  it('resets by a server cost a client nothing', () => {
    const peer = new FakePeer({ role: 'client' });
    for (let i = 0; i < 500; i += 1) {
      const stream = peer.session.request(CONNECT, false, peer.recorder(0));
      peer.feed(resetFrame(stream?.id ?? 0, ErrorCode.REFUSED_STREAM));
    }
    expect(peer.closedWith).toBe('open');
  });
});

describe('header blocks', () => {
  it.each([
    { what: 'many', payload: Buffer.from([0x00]), taken: 17 },
    { what: 'empty', payload: Buffer.alloc(0), taken: 17 },
  ])('of $what CONTINUATION frames end the connection', ({ payload, taken }) => {
    const peer = new FakePeer();
    peer.feed(frame(1, 1, { payload: block(GET) }));
    expect(flood(peer, () => frame(9, 1, { payload }), 100)).toBe(taken);
    expectCalm(peer, /CONTINUATION/);
  });

  it('that grow beyond the limit over several frames end the connection', () => {
    const peer = new FakePeer();
    peer.feed(frame(1, 1, { payload: Buffer.alloc(16_000) }));
    expect(flood(peer, () => frame(9, 1, { payload: Buffer.alloc(16_000) }), 10)).toBe(2);
    expectCalm(peer, /octets in a header block/);
  });

  it('announced larger than the limit end the connection before they are collected', () => {
    const peer = new FakePeer({ settings: { maxFrameSize: 1_048_576 } });
    peer.feed(frame(1, 1, { length: 1_000_000 }));
    expectCalm(peer, /1000000 octets of type 1/);
  });

  it('of references to one large entry end the connection', () => {
    const peer = new FakePeer();
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x62, 0x7f, 0xe9, 0x16]), Buffer.alloc(3048, 0x61)]);
    peer.feed(frame(1, 1, { flags: 5, payload: Buffer.concat([block(GET), entry]) }));
    peer.feed(frame(1, 3, { flags: 5, payload: Buffer.alloc(16_000, 0xbe) }));
    expectCalm(peer, /exceeds 4 times/);
  });

  it('that are half a megabyte of authority end the connection or get 431, and never reach the owner', () => {
    const peer = new FakePeer({ settings: { maxFrameSize: 1_048_576 } });
    peer.feed(
      headersFrame(
        1,
        [
          [':method', 'CONNECT'],
          [':authority', 'a'.repeat(20_000)],
        ],
        { endStream: true },
      ),
    );
    expect(peer.sent()).toEqual(['HEADERS 1 end']);
    peer.feed(
      headersFrame(3, [
        [':method', 'CONNECT'],
        [':authority', 'a'.repeat(500_000)],
      ]),
    );
    expectCalm(peer, /exceed/);
    expect(peer.log).toEqual([]);
  });
});

describe('a peer that does not read', () => {
  it('is cut once too many answers wait for it', () => {
    const peer = withStream({ limits: { pings: 1 << 20 } });
    peer.transport.roomLeft = 0;
    const taken = flood(peer, () => ping, 10_000);
    expect(taken).toBe(Math.floor(65_536 / 17) + 1);
    expect(peer.closedWith).toMatchObject({ code: 'ENHANCE_YOUR_CALM' });
    expect(peer.transport.state).toBe('destroyed');
    expect(peer.log.at(-1)).toBe(`1 reset ${ErrorCode.ENHANCE_YOUR_CALM}`);
  });

  it('is cut once too many headers wait for it, at the next flush and not within respond()', () => {
    const peer = new FakePeer({ limits: { queuedBytes: 1000 } });
    peer.feed(headersFrame(1, GET, { endStream: true }));
    peer.feed(headersFrame(3, GET, { endStream: true }));
    peer.transport.roomLeft = 0;
    peer.streams.get(1)?.respond(
      [
        [':status', '200'],
        ['x', 'y'.repeat(2000)],
      ],
      true,
    );
    expect(peer.closedWith).toBe('open');
    peer.session.flush();
    expect(peer.closedWith).toMatchObject({ code: 'ENHANCE_YOUR_CALM' });
    expect(peer.log.at(-1)).toBe(`3 reset ${ErrorCode.ENHANCE_YOUR_CALM}`);
  });

  it('holds no memory for streams that block and are reset over and over', () => {
    const peer = new FakePeer({ limits: { earlyResets: 1 << 20 } });
    for (let i = 0; i < 1000; i += 1) {
      const id = 1 + 2 * i;
      peer.feed(headersFrame(id, CONNECT));
      const stream = peer.streams.get(id) as H2Stream;
      stream.respond([[':status', '200']], false);
      peer.transport.roomLeft = 0;
      expect(stream.sendAllowance()).toBe(0);
      peer.feed(resetFrame(id));
      peer.transport.roomLeft = 1 << 20;
    }
    peer.session.onTransportWritable();
    expect(peer.session.openStreams).toBe(0);
    expect(peer.log.filter((line) => line.endsWith('writable'))).toEqual([]);
    expect(() => (peer.streams.get(1) as H2Stream).writeData(slab, 9, 1, false)).not.toThrow();
  });
});
