import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { modelEqual } from '../model/diff.ts';
import { type Changes, Watched, type WatchedListener } from './watched.ts';

class Deliveries {
  readonly #queue: (() => void)[] = [];
  readonly schedule = (deliver: () => void): void => {
    this.#queue.push(deliver);
  };

  run(): void {
    for (const deliver of this.#queue.splice(0)) deliver();
  }
}

describe('Watched', () => {
  it('shows the state at once, then merged changes', () => {
    const deliveries = new Deliveries();
    const watched = new Watched<string, number>({ schedule: deliveries.schedule });
    watched.set('a', 1);
    const listener = vi.fn<WatchedListener<string, unknown>>();
    watched.subscribe(listener);
    expect(listener.mock.calls).toEqual([[new Map([['a', 1]])]]);
    watched.set('a', 2);
    watched.set('a', 3);
    watched.set('b', 1);
    expect(listener).toHaveBeenCalledTimes(1);
    deliveries.run();
    expect(listener.mock.calls[1]).toEqual([
      new Map([
        ['a', 3],
        ['b', 1],
      ]),
    ]);
    watched.delete('b');
    deliveries.run();
    expect(listener.mock.calls[2]).toEqual([new Map([['b', undefined]])]);
  });

  it('takes an equal value for no change', () => {
    const deliveries = new Deliveries();
    const watched = new Watched<string, object>({ equal: modelEqual, schedule: deliveries.schedule });
    expect(watched.set('a', { x: 1 })).toBe(true);
    const listener = vi.fn<WatchedListener<string, unknown>>();
    watched.subscribe(listener);
    expect(watched.set('a', { x: 1 })).toBe(false);
    expect(watched.delete('missing')).toBe(false);
    deliveries.run();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('says nothing of a change that was taken back before delivery', () => {
    const deliveries = new Deliveries();
    const watched = new Watched<string, number>({ schedule: deliveries.schedule });
    const listener = vi.fn<WatchedListener<string, unknown>>();
    watched.subscribe(listener);
    watched.set('a', 1);
    watched.delete('a');
    deliveries.run();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('delivers in the next microtask by default, and not after unsubscribe', async () => {
    const watched = new Watched<string, number>();
    const kept = vi.fn<WatchedListener<string, unknown>>();
    const left = vi.fn<WatchedListener<string, unknown>>();
    watched.subscribe(kept);
    const unsubscribe = watched.subscribe(left);
    watched.set('a', 1);
    unsubscribe();
    await Promise.resolve();
    expect([kept.mock.calls.length, left.mock.calls.length]).toEqual([2, 1]);
  });

  it('keeps every subscriber at the state whenever deliveries run', () => {
    const step = fc.oneof(
      fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.option(fc.nat(2), { nil: undefined })),
      fc.constantFrom('run' as const, 'subscribe' as const),
      fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(2)),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const deliveries = new Deliveries();
        const watched = new Watched<string, number>({ schedule: deliveries.schedule });
        const copies: Map<string, number>[] = [];
        for (const one of steps) {
          if (one === 'run') deliveries.run();
          else if (one === 'subscribe') {
            const copy = new Map<string, number>();
            copies.push(copy);
            watched.subscribe((changes) => applyTo(copy, changes));
          } else if (!Array.isArray(one)) watched.replace(new Map(Object.entries(one)));
          else if (one[1] === undefined) watched.delete(one[0]);
          else watched.set(one[0], one[1]);
        }
        deliveries.run();
        for (const copy of copies) expect(copy).toEqual(new Map(watched.entries()));
      }),
    );
  });
});

function applyTo(copy: Map<string, number>, changes: Changes<string, number>): void {
  for (const [key, value] of changes) {
    if (value === undefined) copy.delete(key);
    else copy.set(key, value);
  }
}
