// Octets that came too early, behind a request that is under way: one piece, bounded, counted in the worker's budget.
// They are read from where they lie, so that what is left over of them needs no copy.

import { HEAD_ROOM, Slab } from '../io/slab.ts';
import type { InputBudget } from './head-gatherer.ts';

export class HeldOctets {
  /** Position of the first octet in `slab`, and behind the last. */
  start = 0;
  end = 0;
  readonly #budget: InputBudget;
  readonly #maxBytes: number;
  #slab: Slab | undefined;

  /** @param maxBytes octets held at most. */
  constructor(budget: InputBudget, maxBytes: number) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
  }

  /** undefined when nothing is held. */
  get slab(): Slab | undefined {
    return this.#slab;
  }

  /** Keeps a copy behind what is held already; false if that is too much. If they are those held, it keeps them from `at` on. */
  add(from: Slab, at: number, end: number): boolean {
    if (from === this.#slab) {
      this.start = at;
      return true;
    }
    const had = this.end - this.start;
    const length = had + end - at;
    const size = HEAD_ROOM + length;
    const more = size - (this.#slab?.bytes.length ?? 0);
    if (length > this.#maxBytes || this.#budget.used + more > this.#budget.limit) return false;
    const own = new Slab(size);
    this.#slab?.bytes.copy(own.bytes, HEAD_ROOM, this.start, this.end);
    from.bytes.copy(own.bytes, HEAD_ROOM + had, at, end);
    this.#budget.used += more;
    this.#slab = own;
    this.start = HEAD_ROOM;
    this.end = size;
    return true;
  }

  clear(): void {
    if (this.#slab === undefined) return;
    this.#budget.used -= this.#slab.bytes.length;
    this.#slab = undefined;
    this.start = 0;
    this.end = 0;
  }
}
