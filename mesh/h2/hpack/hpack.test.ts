// Encoder and decoder against each other and against random bytes.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { H2Error } from '../error.ts';
import type { Header } from '../header.ts';
import { HpackDecoder } from './decoder.ts';
import { encodedBound, HpackEncoder } from './encoder.ts';
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.ts';

const octets = (min: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ maxLength: 200 })
    .map((bytes) => Buffer.from(bytes.map((byte) => (byte < min ? min : byte))).toString('latin1'));

// A few names and values often, so that the dynamic table is hit; any octets sometimes.
const field: fc.Arbitrary<Header> = fc.tuple(
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('x-a', 'x-b', 'accept', ':path', 'cookie', ':status') },
    { weight: 1, arbitrary: octets(33) },
  ),
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('', '200', '/', 'gzip, deflate', 'v'.repeat(300)) },
    { weight: 1, arbitrary: octets(32) },
  ),
);

function decoderOf(maxListBytes = 1 << 20, tableBytes = 4096): HpackDecoder {
  return new HpackDecoder({ maxListBytes, tableBytes });
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof H2Error) return error.code;
    throw error;
  }
  return 'no error';
}

describe('Huffman', () => {
  it('decodes what it encoded, for all octets, in the length it foretold', () => {
    fc.assert(
      fc.property(octets(0), (text) => {
        const out = Buffer.alloc(1024);
        const end = huffmanEncode(text, out, 0);
        expect(end).toBe(huffmanLength(text));
        const decoded = Buffer.alloc(1024);
        expect(decoded.toString('latin1', 0, huffmanDecode(out, 0, end, decoded))).toBe(text);
      }),
    );
  });

  it('rejects padding of more than 7 bits, padding that is not ones, and EOS', () => {
    const out = Buffer.alloc(64);
    for (const bytes of [
      Buffer.of(0xff),
      Buffer.of(0x1f, 0xff),
      Buffer.of(0x18),
      Buffer.of(0xff, 0xff, 0xff, 0xff),
    ]) {
      expect(codeOf(() => huffmanDecode(bytes, 0, bytes.length, out))).toBe('COMPRESSION_ERROR');
    }
    expect(huffmanDecode(Buffer.of(0x1f), 0, 1, out)).toBe(1); // "a" and three ones
  });
});

describe('HpackEncoder with HpackDecoder', () => {
  it('carries any list of headers across, over many blocks and table sizes', () => {
    const step = fc.record({
      headers: fc.array(field, { maxLength: 20 }),
      tableBytes: fc.option(fc.integer({ min: 0, max: 8192 }), { nil: undefined, freq: 4 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = decoderOf(1 << 20, 8192);
        for (const { headers, tableBytes } of steps) {
          if (tableBytes !== undefined) encoder.setTableLimit(tableBytes);
          const out = Buffer.alloc(encodedBound(headers));
          const end = encoder.encode(headers, out, 0);
          expect(end).toBeLessThanOrEqual(out.length);
          expect(decoder.decode(out, 0, end)).toEqual(headers);
        }
      }),
    );
  });

  it('never indexes secrets and encodes a repeated list in one octet a field', () => {
    const encoder = new HpackEncoder();
    const out = Buffer.alloc(512);
    const secret: Header[] = [['authorization', 'Bearer x']];
    encoder.encode(secret, out, 0);
    expect((out[0] as number) & 0xf0).toBe(0x10);
    const list: Header[] = [
      [':authority', '10.1.2.3:8080'],
      ['baggage', 'k8s.namespace.name=shop'],
      [':status', '200'],
    ];
    encoder.encode(list, out, 0);
    expect(encoder.encode(list, out, 0)).toBe(3);
  });

  it('tells a dip of the table size even if it rose again', () => {
    const encoder = new HpackEncoder();
    const decoder = decoderOf();
    const out = Buffer.alloc(512);
    const list: Header[] = [['x-a', '1']];
    decoder.decode(out, 0, encoder.encode(list, out, 0));
    encoder.setTableLimit(0);
    encoder.setTableLimit(4096);
    const end = encoder.encode(list, out, 0);
    expect(out.toString('hex', 0, 4)).toBe('203fe11f');
    expect(decoder.decode(out, 0, end)).toEqual(list);
  });

  it('refuses to encode characters no field may hold, and keeps its table', () => {
    const encoder = new HpackEncoder();
    const out = Buffer.alloc(512);
    for (const bad of ['a\r\nb', 'a\0', '\u20ac']) {
      expect(
        codeOf(() =>
          encoder.encode(
            [
              ['x-new', '1'],
              ['x-b', bad],
            ],
            out,
            0,
          ),
        ),
      ).toBe('INTERNAL_ERROR');
    }
    const end = encoder.encode([['x-new', '1']], out, 0);
    expect(decoderOf().decode(out, 0, end)).toEqual([['x-new', '1']]);
  });
});

describe('HpackDecoder', () => {
  it('throws nothing but H2Error for random bytes and stays usable in memory', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (blocks) => {
        const decoder = decoderOf(4096);
        for (const bytes of blocks) {
          const code = codeOf(() => decoder.decode(Buffer.from(bytes), 0, bytes.length));
          expect(['no error', 'COMPRESSION_ERROR', 'ENHANCE_YOUR_CALM']).toContain(code);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    { why: 'index 0', bytes: '80' },
    { why: 'an index outside of both tables', bytes: 'be' },
    { why: 'an integer that never ends', bytes: 'ff808080808080808080' },
    { why: 'an integer above 2^28', bytes: 'ffffffffff7f' },
    { why: 'a string longer than the block', bytes: '000561' },
    { why: 'a field without a value', bytes: '000161' },
    { why: 'a table size above what was announced', bytes: '3fe21f' },
    { why: 'a table size update after a field', bytes: '8220' },
  ])('rejects $why', ({ bytes }) => {
    const block = Buffer.from(bytes, 'hex');
    expect(codeOf(() => decoderOf().decode(block, 0, block.length))).toBe('COMPRESSION_ERROR');
  });

  it('wants the table size lowered in the first block after the acknowledgement', () => {
    const decoder = decoderOf(4096, 100);
    decoder.tableSizeAcknowledged(100);
    expect(codeOf(() => decoder.decode(Buffer.of(0x82), 0, 1))).toBe('COMPRESSION_ERROR');
    const lowered = decoderOf(4096, 100);
    lowered.tableSizeAcknowledged(100);
    expect(lowered.decode(Buffer.from('3f4582', 'hex'), 0, 3)).toEqual([[':method', 'GET']]);
  });

  it('marks a list over the limit, and gives up on one four times as large', () => {
    const encoder = new HpackEncoder();
    const out = Buffer.alloc(16_384);
    const big: Header = ['x-bomb', 'b'.repeat(1000)];
    const one = encoder.encode([big], out, 0);
    const decoder = decoderOf(4096);
    expect(decoder.decode(out, 0, one)).toHaveLength(1);
    const references = Buffer.alloc(10, 0xbe);
    const partial = decoder.decode(references, 0, 10);
    expect(decoder.oversize).toBe(true);
    expect(partial.length).toBeLessThan(10);
    const bomb = Buffer.alloc(1000, 0xbe);
    expect(codeOf(() => decoder.decode(bomb, 0, bomb.length))).toBe('ENHANCE_YOUR_CALM');
  });
});
