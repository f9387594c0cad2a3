// What one end writes the other reads: bodies and trailers in chunks, whatever the pieces they are written and read in.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HEAD_ROOM, Slab } from '../io/slab.ts';
import { BodyReader } from './body-reader.ts';
import { BodyWriter } from './body-writer.ts';
import { InputBudget } from './head-gatherer.ts';
import { HeadWriter } from './head-writer.ts';
import { Outbox } from './outbox.ts';
import { FakeLoop } from './testing/fake-loop.ts';
import { FakeTransport } from './testing/fake-transport.ts';

const limits = { maxHeadBytes: 4096, maxFields: 16 };

function encode(
  pieces: readonly string[],
  trailers: readonly (readonly [string, string])[],
  tight: boolean,
): string {
  const transport = new FakeTransport(new FakeLoop());
  const body = new BodyWriter(new Outbox(transport));
  body.begin('chunked', 0);
  for (const piece of pieces) {
    // With nothing behind the data the line end can not be borrowed there.
    const slab = new Slab(HEAD_ROOM + piece.length + (tight ? 0 : 8));
    slab.bytes.write(piece, HEAD_ROOM, 'latin1');
    body.data(slab, HEAD_ROOM, piece.length);
  }
  expect(body.end(trailers.length === 0 ? undefined : trailers, new HeadWriter())).toBe(true);
  return transport.written;
}

interface Decoded {
  text: string;
  trailers: readonly (readonly [string, string])[];
  end: number;
}

function decode(octets: string, size: number): Decoded | string {
  const budget = new InputBudget(1 << 16);
  const reader = new BodyReader(limits, budget);
  reader.begin(true, 0);
  const bytes = Buffer.from(octets, 'latin1');
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + size, bytes.length);
    const outcome = reader.next(bytes, at, end);
    if (outcome === 'fault') return reader.fault.reason;
    if (outcome === 'more') at = end;
    else at = reader.dataEnd;
    if (outcome === 'data') text += bytes.toString('latin1', reader.dataStart, reader.dataEnd);
    if (outcome !== 'done') continue;
    const { trailers } = reader;
    reader.close();
    expect(budget.used).toBe(0);
    return { text, trailers, end: at };
  }
  return 'more';
}

const piece = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((octet) => String.fromCharCode(octet)),
  minLength: 1,
  maxLength: 300,
});
const trailer = fc.tuple(
  fc.stringMatching(/^x-[a-z]{1,5}$/),
  fc.stringMatching(/^[a-z \u00e4]{0,9}$/).map((value) => value.trim()),
);

describe('a chunked body', () => {
  it('is read as it was written', () => {
    const rest = 'GET / HTTP/1.1\r\n';
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 5 }),
        fc.array(trailer, { maxLength: 3 }),
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        (pieces, trailers, size, tight) => {
          const octets = encode(pieces, trailers, tight);
          expect(decode(octets + rest, size)).toEqual({
            text: pieces.join(''),
            trailers,
            end: octets.length,
          });
        },
      ),
    );
  });

  it('is never complete before its end', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 3 }), fc.nat(), (pieces, at) => {
        const octets = encode(pieces, [['x', 'y']], false);
        expect(decode(octets.slice(0, at % octets.length), 7)).toBe('more');
      }),
    );
  });

  it('of any octets is refused, complete or goes on, without a throw', () => {
    const octets = fc.array(
      fc.constantFrom('0', '1', 'a', 'F', '\r\n', '\r', '\n', ';', '=', ' ', 'x', ':', '\0'),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(octets, fc.integer({ min: 1, max: 9 }), (parts, size) => {
        const whole = decode(parts.join(''), 1000);
        expect(decode(parts.join(''), size)).toEqual(whole);
      }),
    );
  });

  it('drops trailers that come too late to be heeded', () => {
    const octets = '0\r\nX-Kept: 1\r\nSet-Cookie: a\r\nAuthorization: b\r\nHost: c\r\nConnection: x\r\n\r\n';
    expect(decode(octets, 3)).toMatchObject({ trailers: [['x-kept', '1']] });
  });

  it('has bounds for sizes, extensions and trailers', () => {
    expect(decode(`${'0'.repeat(12)}\r\n`, 100)).toBe('a chunk size is too large');
    expect(decode(`1;${'a'.repeat(20_000)}\r\n`, 1000)).toBe('chunk extensions are too long');
    expect(decode('1;a\r\nx\r\n'.repeat(20_000), 1000)).toBe('chunk extensions are too long');
    expect(decode(`0\r\n${'x: y\r\n'.repeat(20)}\r\n`, 1000)).toBe('more than 16 fields');
    expect(decode(`0\r\nx: ${'y'.repeat(5000)}\r\n\r\n`, 1000)).toMatch(/too long|too large/);
  });
});
