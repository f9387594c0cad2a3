import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TakerData } from './testing/limit-table-worker.ts';
import { LimitTable, limitTableMemory } from './limit-table.ts';

describe('LimitTable', () => {
  it('gives out exactly the tokens there are when several threads take at once', async () => {
    const data: TakerData = { memory: limitTableMemory(64), keys: 3, burst: 400, rounds: 20_000 };
    const workers = Array.from(
      { length: 3 },
      () => new Worker(new URL('./testing/limit-table-worker.ts', import.meta.url), { workerData: data }),
    );
    const results = await Promise.all(
      workers.map(async (worker) => {
        const exited = once(worker, 'exit');
        const [got] = (await once(worker, 'message')) as [number[]];
        await exited;
        return got;
      }),
    );
    const sums = [0, 1, 2].map((key) => results.reduce((sum, got) => sum + (got[key] as number), 0));
    expect(sums).toEqual([400, 400, 400]);
  });

  it('keeps buckets that fill up slowly from being replaced by many that fill up fast', () => {
    const table = new LimitTable(limitTableMemory(32));
    const slow = { emissionMs: 3_600_000, burst: 1 };
    const fast = { emissionMs: 10, burst: 5 };
    expect(table.take(1, 1, { shape: slow, now: 0 })).toBeGreaterThanOrEqual(0);
    for (let key = 0; key < 5_000; key++) table.take(key * 7, key, { shape: fast, now: key });
    expect(table.take(1, 1, { shape: slow, now: 5_000 })).toBeLessThan(0);
    // And a flood of slow ones holds up a fast one no longer than its own refill.
    for (let key = 0; key < 5_000; key++) table.take(key * 7, key, { shape: slow, now: 5_000 });
    expect(table.take(99, 99, { shape: fast, now: 50_000 })).toBeGreaterThanOrEqual(0);
  });

  it('has put back what was given back', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.boolean(), { maxLength: 60 }),
        (burst, steps) => {
          const table = new LimitTable(limitTableMemory(64));
          const shape = { emissionMs: 100, burst };
          let left = burst;
          for (const giveBack of steps) {
            const taken = table.take(3, 4, { shape, now: 7 }) >= 0;
            expect(taken).toBe(left > 0);
            if (!taken) continue;
            if (giveBack) table.giveBack(3, 4, shape);
            else left--;
          }
        },
      ),
    );
  });
});
