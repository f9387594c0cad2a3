import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bitString,
  contextPrimitive,
  objectIdentifier,
  octetString,
  sequence,
  time,
  unsignedInteger,
} from './der.ts';

describe('DER', () => {
  // Examples of X.690 and RFC 5280.
  it.each([
    ['a small integer', unsignedInteger(Buffer.of(2)), '020102'],
    ['an integer with its top bit set', unsignedInteger(Buffer.of(0x80)), '02020080'],
    ['an integer with leading zeros', unsignedInteger(Buffer.of(0, 0, 0x7f)), '02017f'],
    ['zero', unsignedInteger(Buffer.of(0, 0)), '020100'],
    ['ecdsa-with-SHA256', objectIdentifier('1.2.840.10045.4.3.2'), '06082a8648ce3d040302'],
    ['subjectAltName', objectIdentifier('2.5.29.17'), '0603551d11'],
    ['a named bit list', bitString(Buffer.of(0x80), 7), '03020780'],
    ['an address name', contextPrimitive(7, Buffer.of(127, 0, 0, 1)), '87047f000001'],
    [
      'the last second of UTCTime',
      time(Date.UTC(2049, 11, 31, 23, 59, 59)),
      '170d3439313233313233353935395a',
    ],
    ['the first of GeneralizedTime', time(Date.UTC(2050, 0, 1)), '180f32303530303130313030303030305a'],
    ['a time with milliseconds', time(Date.UTC(2027, 0, 2, 3, 4, 5, 678)), '170d3237303130323033303430355a'],
  ])('writes %s', (_title, der, hex) => {
    expect(der.toString('hex')).toBe(hex);
  });

  it('writes lengths in the fewest bytes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 70_000 }), (length) => {
        const content = length < 128 ? 2 : length < 256 ? 3 : length < 65_536 ? 4 : 5;
        const der = octetString(Buffer.alloc(length));
        expect(der.length).toBe(content + length);
        if (length >= 128) expect(der.readUIntBE(2, content - 2)).toBe(length);
        else expect(der[1]).toBe(length);
      }),
    );
  });

  it('nests', () => {
    expect(sequence(sequence(), octetString(Buffer.of(1))).toString('hex')).toBe('30053000040101');
  });
});
