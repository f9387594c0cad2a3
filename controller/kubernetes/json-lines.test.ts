import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonLines } from './json-lines.ts';
import { KubeError } from './kube-error.ts';

/** Feeds `bytes` cut at `cuts`. */
function feed(bytes: Buffer, cuts: readonly number[]): unknown[] {
  const values: unknown[] = [];
  const lines = new JsonLines((value) => values.push(value));
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  lines.end();
  return values;
}

describe('JsonLines', () => {
  it('gives the same values however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.array(fc.nat()), (values, cuts) => {
        const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
        expect(feed(Buffer.from(text), cuts)).toEqual(JSON.parse(JSON.stringify(values)));
      }),
    );
  });

  it('refuses what is no JSON, what breaks off and what is too long', () => {
    expect(() => feed(Buffer.from('{"a":1}\nnonsense\n'), [])).toThrow(KubeError);
    expect(() => feed(Buffer.from('{"a":1}\n{"b"'), [])).toThrow('Watch broke off inside an event');
    const lines = new JsonLines(() => {}, { maxLineChars: 10 });
    lines.push(Buffer.from('"12345678'));
    expect(() => lines.push(Buffer.from('9a'))).toThrow('more than 10 characters');
  });
});
