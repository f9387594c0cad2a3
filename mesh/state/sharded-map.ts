// A persistent map with string keys: readers keep an immutable map, a writer edits a copy that shares all untouched
// parts. Two levels of 64 by hash, then small Maps: at 100,000 entries a single change copies about 25 entries.
// Knows nothing of what it stores.

const fanOut = 64;

type Leaf<K, V> = Map<K, V>;
type Branch<K, V> = readonly (Leaf<K, V> | undefined)[];
type Root<K, V> = readonly (Branch<K, V> | undefined)[];

export class ShardedMap<K extends string, V> {
  readonly size: number;
  readonly #root: Root<K, V>;

  private constructor(root: Root<K, V>, size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<K extends string, V>(): ShardedMap<K, V> {
    return new ShardedMap<K, V>(new Array(fanOut).fill(undefined), 0);
  }

  get(key: K): V | undefined {
    const hash = hashOf(key);
    return this.#root[hash >>> 6]?.[hash & 63]?.get(key);
  }

  has(key: K): boolean {
    const hash = hashOf(key);
    return this.#root[hash >>> 6]?.[hash & 63]?.has(key) ?? false;
  }

  /** In an order that depends on the keys and on history; sort where order matters. */
  *entries(): Generator<[K, V], void> {
    for (const branch of this.#root) {
      if (branch === undefined) continue;
      for (const leaf of branch) if (leaf !== undefined) yield* leaf;
    }
  }

  *values(): Generator<V, void> {
    for (const entry of this.entries()) yield entry[1];
  }

  /** A writer that starts from this map and never changes it. */
  edit(): ShardedMapEditor<K, V> {
    return new ShardedMapEditor<K, V>(this.#root, this.size, (root, size) => new ShardedMap(root, size));
  }
}

/** Collects changes; `finish` returns the map that has them. Each part is copied once an edit. */
export class ShardedMapEditor<K extends string, V> {
  #root: Root<K, V>;
  #size: number;
  readonly #make: (root: Root<K, V>, size: number) => ShardedMap<K, V>;
  /** Parts made by this edit, which no reader can see yet. */
  #owned = new Set<object>();

  constructor(root: Root<K, V>, size: number, make: (root: Root<K, V>, size: number) => ShardedMap<K, V>) {
    this.#root = root;
    this.#size = size;
    this.#make = make;
  }

  get(key: K): V | undefined {
    const hash = hashOf(key);
    return this.#root[hash >>> 6]?.[hash & 63]?.get(key);
  }

  set(key: K, value: V): void {
    const leaf = this.#writableLeaf(hashOf(key));
    if (!leaf.has(key)) this.#size++;
    leaf.set(key, value);
  }

  delete(key: K): void {
    if (this.get(key) === undefined) return;
    if (this.#writableLeaf(hashOf(key)).delete(key)) this.#size--;
  }

  /** The edited map. The editor may be used on: what was handed out is not changed any more. */
  finish(): ShardedMap<K, V> {
    this.#owned = new Set();
    return this.#make(this.#root, this.#size);
  }

  #writableLeaf(hash: number): Leaf<K, V> {
    const root = this.#own(this.#root);
    this.#root = root;
    const branch = this.#own(root[hash >>> 6] ?? new Array<undefined>(fanOut).fill(undefined));
    root[hash >>> 6] = branch;
    let leaf = branch[hash & 63];
    if (leaf === undefined || !this.#owned.has(leaf)) {
      leaf = new Map(leaf);
      this.#owned.add(leaf);
      branch[hash & 63] = leaf;
    }
    return leaf;
  }

  #own<T>(array: readonly T[]): T[] {
    if (this.#owned.has(array)) return array as T[];
    const copy = array.slice();
    this.#owned.add(copy);
    return copy;
  }
}

/** FNV-1a over UTF-16 units, mixed down to 12 bits. Keys are the mesh's own names, so no keyed hash is needed. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return (hash ^ (hash >>> 12)) & 0xfff;
}
