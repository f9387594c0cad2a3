// A persistent index from a key to the sorted list of values that have it (one address, several workloads).
// The order is the index's own total order, never that of arrival, so that any history leads to equal lists.

import { ShardedMap } from './sharded-map.ts';

/** Negative: a first. Zero only for values that replace one another. */
export type Compare<V> = (a: V, b: V) => number;

export class Buckets<K extends string, V> {
  readonly #map: ShardedMap<K, readonly V[]>;
  readonly #compare: Compare<V>;

  constructor(compare: Compare<V>, map: ShardedMap<K, readonly V[]> = ShardedMap.empty()) {
    this.#map = map;
    this.#compare = compare;
  }

  /** Frozen; the same array as long as its content is the same. */
  get(key: K): readonly V[] {
    return this.#map.get(key) ?? none;
  }

  get size(): number {
    return this.#map.size;
  }

  edit(): BucketsEditor<K, V> {
    return new BucketsEditor(this.#map, this.#compare);
  }
}

const none: readonly never[] = Object.freeze([]);

/** Below this number of changes of one list, each is placed by binary search; from it on the list is sorted once. */
const sortFrom = 8;

interface Change<V> {
  readonly added: V[];
  readonly removed: Set<V>;
}

/** Collects changes of many lists and makes each list once, so that a bulk load does not copy lists again and again. */
export class BucketsEditor<K extends string, V> {
  readonly #map: ShardedMap<K, readonly V[]>;
  readonly #compare: Compare<V>;
  readonly #changes = new Map<K, Change<V>>();

  constructor(map: ShardedMap<K, readonly V[]>, compare: Compare<V>) {
    this.#map = map;
    this.#compare = compare;
  }

  /** The value must not be in the list, apart from one removed in this edit. */
  add(key: K, value: V): void {
    this.#change(key).added.push(value);
  }

  /** By object identity: the very value that is in the list. */
  remove(key: K, value: V): void {
    this.#change(key).removed.add(value);
  }

  finish(): Buckets<K, V> {
    if (this.#changes.size === 0) return new Buckets(this.#compare, this.#map);
    const editor = this.#map.edit();
    for (const [key, change] of this.#changes) {
      const list = this.#changed(editor.get(key) ?? none, change);
      if (list.length === 0) editor.delete(key);
      else editor.set(key, Object.freeze(list));
    }
    return new Buckets(this.#compare, editor.finish());
  }

  #change(key: K): Change<V> {
    let change = this.#changes.get(key);
    if (change === undefined) {
      change = { added: [], removed: new Set() };
      this.#changes.set(key, change);
    }
    return change;
  }

  #changed(list: readonly V[], { added, removed }: Change<V>): V[] {
    if (added.length + removed.size >= sortFrom) {
      return list
        .filter((value) => !removed.has(value))
        .concat(added)
        .sort(this.#compare);
    }
    const copy = list.slice();
    for (const value of removed) {
      const at = lowerBound(copy, value, this.#compare);
      if (copy[at] === value) copy.splice(at, 1);
    }
    for (const value of added) copy.splice(lowerBound(copy, value, this.#compare), 0, value);
    return copy;
  }
}

function lowerBound<V>(list: readonly V[], value: V, compare: Compare<V>): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(list[middle] as V, value) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
