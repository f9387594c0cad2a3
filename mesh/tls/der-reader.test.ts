import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { octetString, sequence, time, unsignedInteger } from './der.ts';
import { derTag, readElements, readInside, readOnly, readTime } from './der-reader.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('readElements()', () => {
  it('reads back what the writer wrote, at every length', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 70_000 }), { maxLength: 4 }), (lengths) => {
        const parts = lengths.map((length) => octetString(Buffer.alloc(length, length)));
        const inside = readInside(readOnly(sequence(...parts), derTag.sequence), derTag.sequence);
        expect(inside.map(({ whole }) => whole.toString('latin1'))).toEqual(
          parts.map((part) => part.toString('latin1')),
        );
        expect(inside.map(({ content }) => content.length)).toEqual(lengths);
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['a tag without a length', '30'],
    ['content that is cut off', '3002 00'],
    ['a length that is cut off', '3082 01'],
    ['an indefinite length', '3080 0000'],
    ['a length in more bytes than it needs', '3081 05 0000000000'],
    ['a length that starts with zero', `3082 0080 ${'00'.repeat(128)}`],
    ['a length of five bytes', '3085 0000000001 00'],
    ['a tag of several bytes', '1f81 01 00'],
  ])('refuses %s', (_title, text) => {
    expect(() => readElements(hex(text))).toThrow(RangeError);
  });

  it('throws a RangeError or covers every byte, whatever it is given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const parts = readElements(Buffer.from(bytes)).map(({ whole }) => whole);
          expect(Buffer.concat(parts)).toEqual(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

it('readOnly() refuses another type and bytes after the element', () => {
  expect(() => readOnly(hex('0500'), derTag.sequence)).toThrow('want 0x30, got 0x5');
  expect(() => readOnly(hex('3000 00'), derTag.sequence)).toThrow('followed by more bytes');
});

describe('readTime()', () => {
  it('reads back every second from 1950 to 9999', () => {
    const seconds = fc.integer({ min: Date.UTC(1950, 0) / 1000, max: Date.UTC(9999, 11, 31) / 1000 });
    fc.assert(
      fc.property(seconds, (second) => {
        expect(readTime(readElements(time(second * 1000))[0])).toBe(second * 1000);
      }),
    );
  });

  it.each([
    ['without seconds', '17 0b', '2701020304Z'],
    ['with an offset', '17 11', '270102030405+0000'],
    ['on the 30th of February', '17 0d', '270230000000Z'],
    ['with a fraction', '18 11', '20500101000000.5Z'],
  ])('refuses a time %s', (_title, header, text) => {
    const der = Buffer.concat([hex(header), Buffer.from(text)]);
    expect(() => readTime(readElements(der)[0])).toThrow(RangeError);
  });

  it('refuses what is no time', () => {
    expect(() => readTime(readElements(unsignedInteger(Buffer.of(1)))[0])).toThrow('wrong tag');
    expect(() => readTime(undefined)).toThrow('the end');
  });
});
