import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearestWord } from './nearest-word.ts';

describe('nearestWord()', () => {
  it.each([
    ['acton', 'action'],
    ['slector', 'selector'],
    ['ALOW', 'ALLOW'],
    ['from', 'from'],
    ['FORM', 'from'],
    ['AuthorisationPolicy', 'AuthorizationPolicy'],
  ])('finds for %s the word %s', (written, meant) => {
    const words = ['action', 'selector', 'ALLOW', 'DENY', 'from', 'to', 'AuthorizationPolicy'];
    expect(nearestWord(written, words)).toBe(meant);
  });

  it.each(['banana', '', 'x'.repeat(100_000)])('finds nothing near %.10s', (written) => {
    expect(nearestWord(written, ['selector', 'targetRefs'])).toBeUndefined();
  });

  it('finds a word that is spelt exactly, among any others', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1 }), (words) => {
        const word = words[0] as string;
        expect(nearestWord(word, words)?.toLowerCase()).toBe(word.toLowerCase());
      }),
    );
  });
});
