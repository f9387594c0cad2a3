import { describe, expect, it } from 'vitest';
import { findOutliers, type HttpOutlierDetection, HttpStatistics } from './http-outliers.ts';

const off: HttpOutlierDetection = {
  consecutive5xx: 0,
  consecutiveGatewayErrors: 0,
  successRateDeviations: 0,
  latencyFactor: 0,
};

function rowOf(statuses: readonly number[], policy: Partial<HttpOutlierDetection>): boolean[] {
  const statistics = new HttpStatistics();
  return statuses.map((status) => statistics.count(status, 1, { ...off, ...policy }));
}

describe('HttpStatistics', () => {
  it('counts server failures in a row', () => {
    expect(rowOf([500, 503, 500], { consecutive5xx: 3 })).toEqual([false, false, true]);
    expect(rowOf([500, 404, 500, 500, 0], { consecutive5xx: 3 })).toEqual([false, false, false, false, true]);
    expect(rowOf([500, 500, 500], {})).toEqual([false, false, false]);
  });

  it('counts gateway errors apart: 502, 503, 504 and no response', () => {
    expect(rowOf([502, 0, 504], { consecutiveGatewayErrors: 3 })).toEqual([false, false, true]);
    expect(rowOf([502, 500, 503, 503], { consecutiveGatewayErrors: 2 })).toEqual([false, false, false, true]);
  });

  it('knows the median latency to a tenth', () => {
    for (const ms of [0.5, 3, 40, 700]) {
      const statistics = new HttpStatistics();
      for (let i = 0; i < 60; i++) statistics.count(200, i < 40 ? ms : ms * 20, { ...off, latencyFactor: 2 });
      expect(Math.abs(statistics.medianLatencyMs() / ms - 1)).toBeLessThan(0.12);
    }
  });
});

describe('findOutliers()', () => {
  interface Answers {
    good?: number;
    bad?: number;
    ms?: number;
  }

  function outliers(all: Record<string, Answers>, policy: Partial<HttpOutlierDetection>): string[] {
    const detection = { ...off, ...policy };
    const measured = Object.entries(all).map(([endpoint, { good = 100, bad = 0, ms = 2 }]) => {
      const statistics = new HttpStatistics();
      for (let i = 0; i < good; i++) statistics.count(200, ms, detection);
      for (let i = 0; i < bad; i++) statistics.count(503, ms, detection);
      return { endpoint, statistics };
    });
    return findOutliers(measured, detection);
  }

  it('finds the one that fails more than the others, of three already', () => {
    expect(outliers({ a: {}, b: {}, c: { good: 80, bad: 20 } }, { successRateDeviations: 2 })).toEqual(['c']);
    expect(outliers({ a: {}, b: {}, c: { good: 98, bad: 2 } }, { successRateDeviations: 2 })).toEqual([]);
  });

  it('finds nobody when all are bad alike: that is not one endpoint', () => {
    const bad = { good: 60, bad: 40 };
    expect(outliers({ a: bad, b: bad, c: bad, d: bad }, { successRateDeviations: 2 })).toEqual([]);
  });

  it('says nothing about few responses or few endpoints', () => {
    expect(outliers({ a: {}, b: {}, c: { good: 0, bad: 19 } }, { successRateDeviations: 1 })).toEqual([]);
    expect(outliers({ a: {}, b: { good: 0, bad: 100 } }, { successRateDeviations: 1 })).toEqual([]);
  });

  it('finds the slow one by its median, if it is slow enough to matter', () => {
    expect(outliers({ a: {}, b: {}, c: { ms: 60 } }, { latencyFactor: 3 })).toEqual(['c']);
    expect(outliers({ a: { ms: 0.3 }, b: { ms: 0.3 }, c: { ms: 4 } }, { latencyFactor: 3 })).toEqual([]);
    expect(outliers({ a: { ms: 50 }, b: { ms: 60 }, c: { ms: 120 } }, { latencyFactor: 3 })).toEqual([]);
  });

  it('puts the worst first', () => {
    const all = { a: {}, b: {}, c: {}, d: {}, e: { good: 85, bad: 15 }, f: { good: 40, bad: 60 } };
    expect(outliers(all, { successRateDeviations: 0.5 })[0]).toBe('f');
  });
});
