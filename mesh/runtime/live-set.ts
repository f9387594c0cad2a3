// A set of objects that come and go all the time: connections, requests. No Set, because of what V8 makes of one: it is
// replaced by a new table every few changes, and each old table points to the next. Once a full collection has moved one
// of them to the old generation, dead as it soon is, it keeps the next one alive through every young collection, and that
// the one after it, with all that was in them: everything is promoted, and full collections follow each other.
// Order is not kept.

/** Where the object is, -1 when it is in no set: a field of it, so an object is in one set at most. */
export interface LiveSetItem {
  place: number;
}

export class LiveSet<T extends LiveSetItem> {
  readonly #items: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** No-op for one that is in it already. */
  add(item: T): void {
    if (item.place !== -1) return;
    item.place = this.#size;
    this.#items[this.#size++] = item;
  }

  /** False when it was not in it. */
  delete(item: T): boolean {
    const { place } = item;
    if (place === -1) return false;
    const last = this.#items[--this.#size] as T;
    last.place = place;
    this.#items[place] = last;
    this.#items[this.#size] = undefined;
    item.place = -1;
    return true;
  }

  /** What is in it now: for owners that may do anything to the set meanwhile. */
  snapshot(): T[] {
    return this.#items.slice(0, this.#size) as T[];
  }
}
