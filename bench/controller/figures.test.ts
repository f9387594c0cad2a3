import { describe, expect, it } from 'vitest';
import { formatFigure, grown, mb, percentile } from './figures.ts';

describe('percentile()', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);

  it.each([
    [50, 50],
    [99, 99],
    [100, 100],
    [0, 1],
  ])('takes the value at the nearest rank: p%i of 1 to 100 is %i', (p, expected) => {
    expect(percentile(hundred, p)).toBe(expected);
  });

  it('is the one value of one, and no number of none', () => {
    expect(percentile([7], 99)).toBe(7);
    expect(percentile([], 50)).toBeNaN();
  });

  it('leaves the values as they were', () => {
    const values = [3, 1, 2];
    percentile(values, 50);
    expect(values).toEqual([3, 1, 2]);
  });
});

describe('grown()', () => {
  it('counts from nothing where a counter was not there before, and nothing where it never was', () => {
    const after = new Map([['a', 5]]);
    expect(grown('a', new Map([['a', 2]]), after)).toBe(3);
    expect(grown('a', new Map(), after)).toBe(5);
    expect(grown('b', new Map(), after)).toBe(0);
  });
});

describe('formatFigure()', () => {
  const figure = { name: 'Delay', unit: 'ms' as const };

  it('meets a target by being equal to it or less, and misses it above', () => {
    expect(formatFigure({ ...figure, value: 150, target: 150 })).toMatch(/150 ms {3}\(target 150 ms: met\)$/);
    expect(formatFigure({ ...figure, value: 150.6, target: 150 })).toMatch(
      /151 ms {3}\(target 150 ms: MISSED\)$/,
    );
  });

  it('misses a target with what could not be measured', () => {
    expect(formatFigure({ ...figure, value: Number.NaN, target: 1 })).toContain('MISSED');
  });

  it('shows a fraction of small values only', () => {
    expect(formatFigure({ ...figure, value: 2.34 })).toMatch(/ 2\.3 ms$/);
    expect(formatFigure({ ...figure, value: 23.4 })).toMatch(/ 23 ms$/);
  });
});

it('mb() counts decimal megabytes', () => expect(mb(600e6)).toBe(600));
