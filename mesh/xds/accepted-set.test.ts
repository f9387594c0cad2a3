import { describe, expect, test } from 'vitest';
import { AcceptedSet } from './accepted-set.ts';

type Kind = 'workload' | 'service';
const workload = (key: string) => ({ kind: 'workload' as const, key });
const service = (key: string) => ({ kind: 'service' as const, key });
const make = () => new AcceptedSet<Kind>(['workload', 'service']);

describe('AcceptedSet', () => {
  test('keeps a key as long as one name stands for it', () => {
    const set = make();
    set.accept('uid', 'v1', workload('uid'));
    set.accept('/10.0.0.1', 'v1', workload('uid'));
    expect(set.remove('/10.0.0.1')).toBeUndefined();
    expect(set.hasKey(workload('uid'))).toBe(true);
    expect(set.remove('uid')).toEqual(workload('uid'));
    expect(set.has('uid')).toBe(false);
  });

  test('removes a key that is named itself with all its other names', () => {
    const set = make();
    set.accept('/10.0.0.1', 'v1', workload('uid'));
    expect(set.remove('uid')).toEqual(workload('uid'));
    expect([...set.versions()]).toEqual([]);
  });

  test('tries a removed name as a workload before a service', () => {
    const set = make();
    set.accept('a/b', 'v1', service('a/b'));
    set.accept('/10.0.0.1', 'v1', workload('a/b'));
    expect(set.remove('a/b')).toEqual(workload('a/b'));
    expect(set.remove('a/b')).toEqual(service('a/b'));
    expect(set.remove('a/b')).toBeUndefined();
  });

  test('tells which key lost its last name when a name moves on', () => {
    const set = make();
    set.accept('/10.0.0.1', 'v1', workload('old'));
    expect(set.accept('/10.0.0.1', 'v2', workload('new'))).toEqual(expect.objectContaining(workload('old')));
    expect(set.accept('/10.0.0.1', 'v3', workload('new'))).toBeUndefined();
    expect([...set.versions()]).toEqual([['/10.0.0.1', 'v3']]);
  });

  test('forgets the version of what was refused later, and nothing of what was never accepted', () => {
    const set = make();
    set.accept('uid', 'v1', workload('uid'));
    set.accept('/10.0.0.1', 'v1', workload('uid'));
    for (const name of ['uid', '/10.0.0.1', 'unknown']) set.refuse(name);
    expect([...set.versions()]).toEqual([
      ['uid', ''],
      ['/10.0.0.1', ''],
    ]);
  });
});
