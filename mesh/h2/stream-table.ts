// The streams of a session by id: open addressing with linear probing, in arrays that are kept. No Map, for the reason
// given in mesh/runtime/live-set.ts. Ids of one side go up in steps of two, so that neighbours hardly ever collide.

import type { SessionStream } from './session-stream.ts';

const initialSlots = 16;

export class StreamTable {
  #slots: (SessionStream | undefined)[] = emptySlots(initialSlots);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): SessionStream | undefined {
    return this.#slots[this.#find(id)];
  }

  /** For a stream whose id is not in the table. */
  add(stream: SessionStream): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    this.#slots[this.#find(stream.id)] = stream;
    this.#size++;
  }

  /** No-op for an id that is not in the table. */
  delete(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let hole = this.#find(id);
    if (slots[hole] === undefined) return;
    this.#size--;
    slots[hole] = undefined;
    // What was pushed behind the hole by a collision moves up, or it would not be found any more.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined) return;
      const home = (stream.id >>> 1) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = stream;
      slots[at] = undefined;
      hole = at;
    }
  }

  /** All of them, in the order of their ids. */
  snapshot(): SessionStream[] {
    return this.#slots.filter((stream) => stream !== undefined).toSorted((a, b) => a.id - b.id);
  }

  /** Where the stream is, or the free slot where it would be. Half of the slots are free. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = (id >>> 1) & mask;
    for (let stream = slots[at]; stream !== undefined && stream.id !== id; stream = slots[at])
      at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const streams = this.snapshot();
    this.#slots = emptySlots(this.#slots.length * 2);
    for (const stream of streams) this.#slots[this.#find(stream.id)] = stream;
  }
}

function emptySlots(count: number): (SessionStream | undefined)[] {
  return new Array<SessionStream | undefined>(count).fill(undefined);
}
