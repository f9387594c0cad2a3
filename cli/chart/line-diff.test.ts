import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diffLines } from './line-diff.ts';

const lines = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 });

describe('diffLines()', () => {
  test('gives both texts back, whatever they are', () => {
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        const changes = diffLines(before, after);
        expect(changes.flatMap((change) => (change.kind === 'same' ? change.line : change.before))).toEqual(
          before,
        );
        expect(changes.flatMap((change) => (change.kind === 'same' ? change.line : change.after))).toEqual(
          after,
        );
      }),
    );
  });

  test('says of one text twice that it is the same', () => {
    expect(diffLines(['a', 'b'], ['a', 'b'])).toEqual([
      { kind: 'same', line: 'a' },
      { kind: 'same', line: 'b' },
    ]);
  });

  test('keeps what is common, and takes replaced lines together', () => {
    expect(diffLines(['a', 'x', 'y', 'b'], ['a', 'z', 'b', 'c'])).toEqual([
      { kind: 'same', line: 'a' },
      { kind: 'differs', before: ['x', 'y'], after: ['z'] },
      { kind: 'same', line: 'b' },
      { kind: 'differs', before: [], after: ['c'] },
    ]);
  });
});
