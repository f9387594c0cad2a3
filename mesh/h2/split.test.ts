// The same octets cut at other places mean the same events and the same answers, and random octets end in an H2Error at worst.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { H2Error } from './error.ts';
import { FakePeer } from './testing/fake-peer.ts';
import {
  block,
  dataFrame,
  frame,
  GET,
  goawayFrame,
  headersFrame,
  POST,
  PREFACE,
  resetFrame,
  settingsAck,
  settingsFrame,
  windowUpdate,
} from './testing/frames.ts';

const octets = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const streamId = fc.constantFrom(1, 3, 5, 7);
const flags = fc.constantFrom(0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x25, 0x2d);

/** Frames a peer could send in some order, right or wrong. */
const anyFrame: fc.Arbitrary<Buffer> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(streamId, fc.boolean())
      .map(([id, endStream]) => headersFrame(id, endStream ? GET : POST, { endStream })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(streamId, octets(40), fc.boolean())
      .map(([id, bytes, endStream]) => dataFrame(id, bytes, { endStream })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(streamId, octets(20), fc.nat(30))
      .map(([id, bytes, pad]) =>
        frame(0, id, { flags: 8, payload: Buffer.concat([Buffer.of(pad), bytes, Buffer.alloc(pad)]) }),
      ),
  },
  fc.tuple(streamId, fc.nat(30)).map(([id, cut]) => {
    const whole = block(POST);
    return Buffer.concat([
      frame(1, id, { payload: whole.subarray(0, cut) }),
      frame(9, id, { flags: 4, payload: whole.subarray(cut) }),
    ]);
  }),
  fc.tuple(streamId, fc.nat(13)).map(([id, code]) => resetFrame(id, code)),
  fc
    .tuple(fc.constantFrom(0, 1, 3), fc.integer({ min: 0, max: 100_000 }))
    .map(([id, n]) => windowUpdate(id, n)),
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(70_000)), { maxLength: 4 })
    .map((entries) => settingsFrame(entries)),
  fc.constant(settingsAck),
  octets(8).map((bytes) => frame(6, 0, { payload: Buffer.concat([bytes, Buffer.alloc(8)]).subarray(0, 8) })),
  octets(400).map((debug) => goawayFrame(1, 0, debug.toString('latin1'))),
  fc
    .tuple(fc.nat(255), flags, streamId, octets(60))
    .map(([type, f, id, payload]) => frame(type, id, { flags: f, payload })),
);

interface Outcome {
  readonly log: readonly string[];
  readonly sent: string;
  readonly error: string;
}

function run(bytes: Buffer, pieces: readonly number[]): Outcome {
  const peer = new FakePeer({ handshake: false });
  peer.transport.take();
  peer.feed(bytes, pieces);
  const { closedWith } = peer;
  const error =
    closedWith === 'open'
      ? 'open'
      : closedWith === undefined
        ? 'closed'
        : `${closedWith.code} ${closedWith.message}`;
  return { log: peer.log, sent: peer.transport.take().toString('hex'), error };
}

describe('any split of the input', () => {
  it('yields the same events and answers as the input in one piece', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 25 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 400 }),
        (frames, pieces) => {
          const bytes = Buffer.concat([PREFACE, settingsFrame(), ...frames]);
          expect(run(bytes, pieces)).toEqual(run(bytes, []));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('octet by octet as well', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), (frames) => {
        const bytes = Buffer.concat([PREFACE, settingsFrame(), ...frames]);
        expect(run(bytes, new Array<number>(bytes.length).fill(1))).toEqual(run(bytes, []));
      }),
      { numRuns: 100 },
    );
  });
});

describe('random octets', () => {
  it('never throw out of receive(), and end with an H2Error', () => {
    fc.assert(
      fc.property(fc.array(octets(200), { maxLength: 20 }), (chunks) => {
        const peer = new FakePeer();
        for (const chunk of chunks) peer.feed(chunk);
        if (peer.closedWith !== 'open') expect(peer.closedWith).toBeInstanceOf(H2Error);
      }),
      { numRuns: 500 },
    );
  });

  it('as payloads of well-formed frames towards a client, the same', () => {
    const toClient = fc.tuple(fc.nat(12), flags, fc.constantFrom(0, 1, 2, 3), octets(50));
    fc.assert(
      fc.property(fc.array(toClient, { maxLength: 30 }), (frames) => {
        const peer = new FakePeer({ role: 'client' });
        for (let i = 0; i < 2; i += 1) peer.session.request(POST, false, peer.recorder(1 + 2 * i));
        for (const [type, f, id, payload] of frames) peer.feed(frame(type, id, { flags: f, payload }));
        if (peer.closedWith !== 'open') expect(peer.closedWith).toBeInstanceOf(H2Error);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a frame of 1 MiB', () => {
  it('is handed on as it comes and never collected', () => {
    const peer = new FakePeer({
      connectionWindow: 1 << 24,
      settings: { maxFrameSize: 1 << 20, initialWindowSize: 1 << 24 },
    });
    peer.feed(headersFrame(1, POST));
    const big = dataFrame(1, Buffer.alloc(1 << 20, 0x61), { endStream: true });
    peer.feed(big.subarray(0, 1000));
    expect(peer.log.at(-1)).toHaveLength('1 data '.length + 991);
    peer.feed(big.subarray(1000));
    expect(peer.log.at(-2)).toHaveLength('1 data '.length + (1 << 20));
    expect(peer.log.at(-1)).toBe('1 end');
  });
});
