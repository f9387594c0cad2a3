import { create } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { ResourceStore, type StoreChanges, type StoredResource } from './resource-store.ts';

const typeUrl = 't';

function resource(name: string, fields: Partial<StoredResource> = {}): StoredResource {
  return { name, aliases: [], groups: [], any: create(AnySchema), version: 'v1', ...fields };
}

function setUp() {
  const clock = new ManualClock();
  const store = new ResourceStore({ clock });
  const pushes: StoreChanges[] = [];
  store.subscribe((changes) => pushes.push(changes));
  const names = () => pushes.map((changes) => [...(changes.get(typeUrl)?.keys() ?? [])]);
  return { clock, store, pushes, names };
}

describe('ResourceStore', () => {
  test('tells of a burst of changes once, 25 ms after the last', () => {
    const { clock, store, names } = setUp();
    store.apply(typeUrl, { upserted: [resource('a')] });
    clock.advance(24);
    store.apply(typeUrl, { upserted: [resource('b')] });
    clock.advance(24);
    expect(names()).toEqual([]);
    clock.advance(1);
    expect(names()).toEqual([['a', 'b']]);
  });

  test('tells of changes that never pause 250 ms after the first', () => {
    const { clock, store, names } = setUp();
    for (let ms = 0; ms < 500; ms += 10) {
      store.apply(typeUrl, { upserted: [resource('a', { version: `v${ms}` })] });
      clock.advance(10);
    }
    expect(names()).toEqual([['a'], ['a']]);
  });

  test('is silent when a resource is stored again with the version it has', () => {
    const { clock, store, names } = setUp();
    store.apply(typeUrl, { upserted: [resource('a')] });
    store.flush();
    store.apply(typeUrl, { upserted: [resource('a')], removed: ['unknown'] });
    clock.advance(1_000);
    expect(names()).toEqual([['a']]);
  });

  test('set() removes what it does not name', () => {
    const { store, names } = setUp();
    store.set(typeUrl, [resource('a'), resource('b')]);
    store.flush();
    store.set(typeUrl, [resource('b'), resource('c')]);
    store.flush();
    expect(names()).toEqual([
      ['a', 'b'],
      ['a', 'c'],
    ]);
    expect([...store.entries(typeUrl)].map(({ name }) => name)).toEqual(['b', 'c']);
  });

  test('finds resources by alias and group until they lose them', () => {
    const { store } = setUp();
    store.set(typeUrl, [
      resource('b', { aliases: ['/1.1.1.1'], groups: ['svc'] }),
      resource('a', { aliases: ['/1.1.1.1'] }),
    ]);
    expect(store.byAlias(typeUrl, '/1.1.1.1').map(({ name }) => name)).toEqual(['a', 'b']);
    expect(store.byGroup(typeUrl, 'svc').map(({ name }) => name)).toEqual(['b']);
    store.apply(typeUrl, { upserted: [resource('b', { version: 'v2' })], removed: ['a'] });
    expect([store.byAlias(typeUrl, '/1.1.1.1'), store.byGroup(typeUrl, 'svc')]).toEqual([[], []]);
  });

  test('names the owners before and after a change, and everybody once it was public', () => {
    const { store, pushes } = setUp();
    store.apply(typeUrl, { upserted: [resource('p', { owner: 'n1' }), resource('q', { owner: 'n1' })] });
    store.apply(typeUrl, { upserted: [resource('p', { owner: 'n2' }), resource('q', { version: 'v2' })] });
    store.flush();
    const changes = pushes[0]?.get(typeUrl);
    expect([...(changes?.get('p')?.audience ?? [])]).toEqual(['n1', 'n2']);
    expect(changes?.get('q')?.audience).toBeUndefined();
  });

  test('stops telling a listener that left', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    const stop = store.subscribe(() => expect.unreachable());
    stop();
    store.apply(typeUrl, { upserted: [resource('a')] });
    store.flush();
  });
});
