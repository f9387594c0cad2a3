import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ShardedMap } from './sharded-map.ts';

const key = fc.stringMatching(/^[a-d]{1,3}$/);
const edits = fc.array(fc.array(fc.tuple(key, fc.option(fc.nat(), { nil: undefined })), { maxLength: 8 }));

describe('ShardedMap', () => {
  it('is a Map after any edits, and earlier maps never change', () => {
    fc.assert(
      fc.property(edits, (batches) => {
        let map = ShardedMap.empty<string, number>();
        const reference = new Map<string, number>();
        const history: [ShardedMap<string, number>, Map<string, number>][] = [];
        for (const batch of batches) {
          const editor = map.edit();
          for (const [name, value] of batch) {
            if (value === undefined) editor.delete(name);
            else editor.set(name, value);
            if (value === undefined) reference.delete(name);
            else reference.set(name, value);
            expect(editor.get(name)).toBe(value);
          }
          map = editor.finish();
          history.push([map, new Map(reference)]);
        }
        for (const [then, expected] of history) {
          expect(new Map(then.entries())).toEqual(expected);
          expect(then.size).toBe(expected.size);
          for (const [name, value] of expected)
            expect([then.get(name), then.has(name)]).toEqual([value, true]);
          expect(then.has('missing')).toBe(false);
        }
      }),
    );
  });

  it('does not change a finished map when the editor is used on', () => {
    const editor = ShardedMap.empty<string, number>().edit();
    editor.set('a', 1);
    const first = editor.finish();
    editor.set('a', 2);
    expect([first.get('a'), editor.finish().get('a')]).toEqual([1, 2]);
  });

  it('copies a few dozen entries for one change at 100,000', () => {
    const editor = ShardedMap.empty<string, number>().edit();
    for (let i = 0; i < 100_000; i++) editor.set(`cluster//Pod/namespace-${i % 50}/web-${i}`, i);
    const map = editor.finish();
    const set = vi.spyOn(Map.prototype, 'set');
    try {
      for (let i = 0; i < 100_000; i += 1009) {
        set.mockClear();
        const next = map.edit();
        next.set(`cluster//Pod/namespace-${i % 50}/web-${i}`, -1);
        next.finish();
        expect(set.mock.calls.length).toBeLessThan(80);
      }
    } finally {
      set.mockRestore();
    }
  });
});
