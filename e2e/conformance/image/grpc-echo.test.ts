import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEcho, encodeEcho } from './grpc-echo.ts';

describe('the echo message', () => {
  test('is read as it was written', () => {
    fc.assert(fc.property(fc.string({ maxLength: 400 }), (text) => decodeEcho(encodeEcho(text)) === text));
  });

  test('has the bytes of Protocol Buffers behind the prefix of gRPC', () => {
    expect([...encodeEcho('hi')]).toEqual([0, 0, 0, 0, 4, 0x0a, 2, 0x68, 0x69]);
    expect(encodeEcho('x'.repeat(300)).subarray(5, 8)).toEqual(Buffer.from([0x0a, 0xac, 0x02]));
  });

  test('without its string is empty', () => {
    expect(decodeEcho(Buffer.alloc(5))).toBe('');
  });

  test('is refused when it is cut off, wherever', () => {
    const whole = encodeEcho('hello');
    for (let end = 0; end < whole.length; end++) {
      expect(() => decodeEcho(whole.subarray(0, end))).toThrow(RangeError);
    }
  });
});
