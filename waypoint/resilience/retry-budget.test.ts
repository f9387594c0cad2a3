import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

describe('RetryBudget', () => {
  it('allows a share of the requests of the last ten seconds', () => {
    const budget = new RetryBudget();
    const settings = { percent: 20, minPerSecond: 0 };
    for (let i = 0; i < 100; i++) budget.requested(500);
    const granted = Array.from({ length: 30 }, () => budget.tryRetry(900, settings));
    expect(granted.filter(Boolean)).toHaveLength(20);
    expect(budget.tryRetry(9_999, settings)).toBe(false);
    expect(budget.tryRetry(10_000, settings)).toBe(false);
    budget.requested(10_000);
    for (let i = 0; i < 4; i++) budget.requested(10_001);
    expect(budget.tryRetry(10_002, settings)).toBe(true);
  });

  it('always allows the few a second, shared out among workers', () => {
    const count = (shards: number) => {
      const budget = new RetryBudget({ shards });
      return Array.from({ length: 200 }, () => budget.tryRetry(1, { percent: 0, minPerSecond: 4 })).filter(
        Boolean,
      ).length;
    };
    expect([count(1), count(4), count(400)]).toEqual([40, 10, 1]);
  });

  it('never grants more than the share and the minimum over ten seconds', () => {
    const step = fc.record({
      wait: fc.constantFrom(0, 0, 0, 1, 10, 400, 3_000, 20_000),
      retry: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 0, max: 2 }),
        fc.array(step, { maxLength: 400 }),
        (percent, minPerSecond, steps) => {
          const budget = new RetryBudget();
          let now = 0;
          const [requests, retries]: [number[], number[]] = [[], []];
          for (const { wait, retry } of steps) {
            now += wait;
            if (!retry) {
              budget.requested(now);
              requests.push(Math.floor(now / 1_000));
              continue;
            }
            const second = Math.floor(now / 1_000);
            const recent = (times: number[]) => times.filter((time) => time > second - 10).length;
            const allowed = (recent(requests) * percent) / 100 + minPerSecond * 10;
            const granted = budget.tryRetry(now, { percent, minPerSecond });
            expect(granted).toBe(recent(retries) + 1 <= allowed);
            if (granted) retries.push(second);
          }
        },
      ),
    );
  });
});
