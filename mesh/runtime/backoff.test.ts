import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

describe('Backoff', () => {
  it('doubles from minMs to maxMs and stays there', () => {
    const backoff = new Backoff({ minMs: 10, maxMs: 50, jitter: 0 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([10, 20, 40, 50, 50]);
  });

  it('starts again after reset()', () => {
    const backoff = new Backoff({ minMs: 10, maxMs: 50, jitter: 0, factor: 3 });
    expect([backoff.next(), backoff.next()]).toEqual([10, 30]);
    backoff.reset();
    expect(backoff.next()).toBe(10);
  });

  it('spreads delays over the whole interval with full jitter', () => {
    const values = [0, 0.5, 0.999];
    const backoff = new Backoff({ minMs: 1000, maxMs: 1000, random: () => values.shift() as number });
    expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([1000, 500, 1]);
  });

  it('stays within its bounds', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 0, max: 100000 }),
        fc.double({ min: 0, max: 0.999999, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (minMs, more, random, jitter) => {
          const backoff = new Backoff({ minMs, maxMs: minMs + more, jitter, random: () => random });
          for (let i = 0; i < 40; i++) {
            const delay = backoff.next();
            expect(delay).toBeGreaterThanOrEqual(Math.floor(minMs * (1 - jitter)));
            expect(delay).toBeLessThanOrEqual(minMs + more);
          }
        },
      ),
    );
  });

  it('refuses bounds that make no sense', () => {
    expect(() => new Backoff({ minMs: 0, maxMs: 1 })).toThrow(RangeError);
    expect(() => new Backoff({ minMs: 2, maxMs: 1 })).toThrow(RangeError);
    expect(() => new Backoff({ minMs: 1, maxMs: Number.POSITIVE_INFINITY })).toThrow(RangeError);
    expect(() => new Backoff({ minMs: 1, maxMs: 2, factor: 0.5 })).toThrow(RangeError);
    expect(() => new Backoff({ minMs: 1, maxMs: 2, jitter: 2 })).toThrow(RangeError);
  });
});
