import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LiveSet, type LiveSetItem } from './live-set.ts';

describe('LiveSet', () => {
  it('holds what a Set holds, whatever is added and deleted, however often', () => {
    const step = fc.record({ add: fc.boolean(), which: fc.nat(12) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const items: LiveSetItem[] = Array.from({ length: 13 }, () => ({ place: -1 }));
        const live = new LiveSet<LiveSetItem>();
        const expected = new Set<LiveSetItem>();
        for (const { add, which } of steps) {
          const item = items[which] as LiveSetItem;
          if (add) {
            live.add(item);
            expected.add(item);
          } else {
            expect(live.delete(item)).toBe(expected.delete(item));
          }
          expect(live.size).toBe(expected.size);
        }
        expect(new Set(live.snapshot())).toEqual(expected);
        expect(live.snapshot()).toHaveLength(expected.size);
      }),
    );
  });

  it('lets its owner delete while it goes through a snapshot', () => {
    const live = new LiveSet<LiveSetItem>();
    for (let i = 0; i < 10; i++) live.add({ place: -1 });
    for (const item of live.snapshot()) live.delete(item);
    expect(live.size).toBe(0);
    expect(live.snapshot()).toEqual([]);
  });
});
