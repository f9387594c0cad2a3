import { describe, expect, test } from 'vitest';
import { DemandList } from './demand-list.ts';

function setUp() {
  const sent: { subscribe?: readonly string[]; unsubscribe?: readonly string[] }[] = [];
  return { sent, list: new DemandList((names) => sent.push(names)) };
}

describe('DemandList', () => {
  test('asks once for a name that several wait for', async () => {
    const { sent, list } = setUp();
    const both = [list.ask('a', {}), list.ask('a', {})];
    list.answer('a', 'found');
    expect(await Promise.all(both)).toEqual(['found', 'found']);
    expect(sent).toEqual([{ subscribe: ['a'] }]);
    expect([...list.names()]).toEqual([]);
  });

  test('follows what was absent and does not ask again', async () => {
    const { sent, list } = setUp();
    const first = list.ask('a', {});
    list.answer('a', 'absent');
    expect([await first, await list.ask('a', {})]).toEqual(['absent', 'absent']);
    expect([sent.length, [...list.names()]]).toEqual([1, ['a']]);
  });

  test('does not follow names that nobody asked for', () => {
    const { list } = setUp();
    list.answer('a', 'absent');
    expect([...list.names()]).toEqual([]);
  });

  test('gives a name up when the last that waited for it does', async () => {
    const { sent, list } = setUp();
    const [one, two] = [new AbortController(), new AbortController()];
    const waits = [list.ask('a', { signal: one.signal }), list.ask('a', { signal: two.signal })];
    one.abort(new Error('one'));
    expect(sent).toEqual([{ subscribe: ['a'] }]);
    two.abort(new Error('two'));
    expect(sent[1]).toEqual({ unsubscribe: ['a'] });
    expect(await Promise.allSettled(waits)).toMatchObject([
      { reason: { message: 'one' } },
      { reason: { message: 'two' } },
    ]);
    await expect(list.ask('b', { signal: one.signal })).rejects.toThrow('one');
  });

  test('refuses more than 10,000 waiting names', async () => {
    const { list } = setUp();
    const waits = Array.from({ length: 10_000 }, (_, i) => list.ask(`n${i}`, {}));
    await expect(list.ask('one more', {})).rejects.toMatchObject({ code: 'DEMAND_LIMIT' });
    list.close();
    expect((await Promise.allSettled(waits)).every(({ status }) => status === 'rejected')).toBe(true);
  });

  test('stops following the oldest of more than 10,000 absent names', () => {
    const { sent, list } = setUp();
    for (let i = 0; i <= 10_000; i++) {
      void list.ask(`n${i}`, {});
      list.answer(`n${i}`, 'absent');
    }
    expect(sent.at(-1)).toEqual({ unsubscribe: ['n0'] });
    expect([...list.names()].length).toBe(10_000);
  });
});
