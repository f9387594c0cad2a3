// A map between two stages of the configuration path: one writes, others are told what changed. A store of an equal
// value is no change; a subscriber sees the whole state first and then changes, several of one key merged into one.
// For threads with an event loop only: a data worker's reactor never runs microtasks.

export interface WatchedOptions<V> {
  /** Default Object.is; modelEqual for values of the model. */
  readonly equal?: (a: V, b: V) => boolean;
  /** When collected changes are delivered; default: the next microtask. A Clock timer gathers more of them. */
  readonly schedule?: (deliver: () => void) => void;
}

/** From key to new value; undefined for a key that is gone. */
export type Changes<K, V> = ReadonlyMap<K, V | undefined>;

export type WatchedListener<K, V> = (changes: Changes<K, V>) => void;

interface Subscriber<K, V> {
  readonly listener: WatchedListener<K, V>;
  /** For each key changed since the last delivery the value the subscriber knows. */
  pending: Map<K, V | undefined>;
}

export class Watched<K, V extends {} | null> {
  readonly #values = new Map<K, V>();
  readonly #subscribers = new Set<Subscriber<K, V>>();
  readonly #equal: (a: V, b: V) => boolean;
  readonly #schedule: (deliver: () => void) => void;

  constructor({ equal = Object.is, schedule = queueMicrotask }: WatchedOptions<V> = {}) {
    this.#equal = equal;
    this.#schedule = schedule;
  }

  get(key: K): V | undefined {
    return this.#values.get(key);
  }

  get size(): number {
    return this.#values.size;
  }

  entries(): IterableIterator<[K, V]> {
    return this.#values.entries();
  }

  /** Whether this changed anything. */
  set(key: K, value: V): boolean {
    const before = this.#values.get(key);
    if (this.#same(before, value)) return false;
    this.#values.set(key, value);
    this.#changed(key, before);
    return true;
  }

  /** Whether the key was there. */
  delete(key: K): boolean {
    const before = this.#values.get(key);
    if (before === undefined) return false;
    this.#values.delete(key);
    this.#changed(key, before);
    return true;
  }

  /** Makes the state exactly `next`. */
  replace(next: ReadonlyMap<K, V>): void {
    for (const key of [...this.#values.keys()]) if (!next.has(key)) this.delete(key);
    for (const [key, value] of next) this.set(key, value);
  }

  /** Calls the listener with the state at once, even if it is empty. Returns the idempotent unsubscribe. */
  subscribe(listener: WatchedListener<K, V>): () => void {
    const subscriber: Subscriber<K, V> = { listener, pending: new Map() };
    this.#subscribers.add(subscriber);
    listener(new Map(this.#values));
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }

  #changed(key: K, before: V | undefined): void {
    for (const subscriber of this.#subscribers) {
      if (subscriber.pending.size === 0) this.#schedule(() => this.#deliver(subscriber));
      if (!subscriber.pending.has(key)) subscriber.pending.set(key, before);
    }
  }

  #deliver(subscriber: Subscriber<K, V>): void {
    if (!this.#subscribers.has(subscriber)) return;
    const known = subscriber.pending;
    subscriber.pending = new Map();
    const changes = new Map<K, V | undefined>();
    for (const [key, before] of known) {
      const value = this.#values.get(key);
      if (!this.#same(before, value)) changes.set(key, value);
    }
    if (changes.size > 0) subscriber.listener(changes);
  }

  #same(a: V | undefined, b: V | undefined): boolean {
    if (a === undefined || b === undefined) return a === b;
    return this.#equal(a, b);
  }
}
