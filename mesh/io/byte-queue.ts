// Bytes that a slow reader has not taken yet. Bounded three times: each queue by the flow-control window of its stream (the
// owner's business), those of one pod by its share, all of a worker by one budget. Chunks are recycled.

import { HEAD_ROOM, Slab } from './slab.ts';
import { FAILED } from './tcp-stream.ts';

const chunkSize = 32 * 1024;
const maxSpareChunks = 64;
const chunkEnd = HEAD_ROOM + chunkSize;

/** Where bytes of a queue go. */
export interface ByteWriter {
  /** Bytes taken, fewer than `length` if there is no room now, or FAILED. May overwrite the HEAD_ROOM octets before `offset`. */
  write(slab: Slab, offset: number, length: number): number;
}

/** The memory all queues of one worker may hold. */
export class BufferBudget {
  readonly limit: number;
  used = 0;
  #spare: Slab[] = [];

  /** @param limit bytes; at least one chunk (32 KiB). */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes that may still be taken. */
  get room(): number {
    return this.limit - this.used;
  }

  /** A chunk of 32 KiB, or undefined when the budget is spent. */
  take(): Slab | undefined {
    if (!this.reserve(chunkSize)) return undefined;
    return this.#spare.pop() ?? new Slab(chunkEnd);
  }

  give(chunk: Slab): void {
    this.release(chunkSize);
    if (this.#spare.length < maxSpareChunks) this.#spare.push(chunk);
  }

  /** For memory of another form, in bytes: false when the budget is spent. `release` is to follow. */
  reserve(bytes: number): boolean {
    if (bytes > this.room) return false;
    this.used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.used -= bytes;
  }
}

/**
 * What one pod may take of a budget: never more than it leaves free. Alone it gets half; of n that want more than they
 * can get each has one of n + 1 equal parts, and the last part stays free for whoever comes. So no pod can spend what
 * another one needs, and no count of pods has to be known (dynamic thresholds: Choudhury and Hahne 1998).
 */
export class BufferShare extends BufferBudget {
  readonly #whole: BufferBudget;

  constructor(whole: BufferBudget) {
    super(whole.limit);
    this.#whole = whole;
  }

  override get room(): number {
    return Math.floor((this.#whole.room - this.used) / 2);
  }

  override take(): Slab | undefined {
    if (chunkSize > this.room) return undefined;
    const chunk = this.#whole.take();
    if (chunk !== undefined) this.used += chunkSize;
    return chunk;
  }

  override give(chunk: Slab): void {
    this.used -= chunkSize;
    this.#whole.give(chunk);
  }

  override reserve(bytes: number): boolean {
    return super.reserve(bytes) && this.#whole.reserve(bytes);
  }

  override release(bytes: number): void {
    super.release(bytes);
    this.#whole.release(bytes);
  }
}

export class ByteQueue {
  /** Bytes waiting. */
  size = 0;
  #budget: BufferBudget;
  #chunks: Slab[] = [];
  /** Offset of the first waiting byte in the first chunk. */
  #head = 0;
  /** Offset after the last byte in the last chunk. */
  #tail = 0;

  constructor(budget: BufferBudget) {
    this.#budget = budget;
  }

  /** Whether `push` would take `length` bytes now. */
  fits(length: number): boolean {
    const inLast = this.#chunks.length === 0 ? 0 : chunkEnd - this.#tail;
    const chunks = Math.ceil(Math.max(0, length - inLast) / chunkSize);
    return chunks * chunkSize <= this.#budget.room;
  }

  /** Copies `length` bytes; false when the budget is spent (what fitted stays queued, the owner gives up). */
  push(slab: Slab, offset: number, length: number): boolean {
    let from = offset;
    let left = length;
    while (left > 0) {
      let chunk = this.#chunks.at(-1);
      if (chunk === undefined || this.#tail === chunkEnd) {
        chunk = this.#budget.take();
        if (chunk === undefined) return false;
        this.#chunks.push(chunk);
        this.#tail = HEAD_ROOM;
        if (this.#chunks.length === 1) this.#head = HEAD_ROOM;
      }
      const count = Math.min(left, chunkEnd - this.#tail);
      slab.bytes.copy(chunk.bytes, this.#tail, from, from + count);
      this.#tail += count;
      this.size += count;
      from += count;
      left -= count;
    }
    return true;
  }

  /** Writes as much as `writer` takes. Returns the bytes written, or FAILED. */
  drainTo(writer: ByteWriter): number {
    let written = 0;
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      const end = this.#chunks.length === 1 ? this.#tail : chunkEnd;
      const count = writer.write(chunk, this.#head, end - this.#head);
      if (count === FAILED) return FAILED;
      written += count;
      // The writer may have cleared the queue.
      if (this.#chunks[0] !== chunk) return written;
      this.size -= count;
      this.#head += count;
      if (this.#head < end) return written;
      this.#chunks.shift();
      this.#head = HEAD_ROOM;
      this.#budget.give(chunk);
    }
    this.#tail = HEAD_ROOM;
    return written;
  }

  /** Gives everything back. */
  clear(): void {
    for (const chunk of this.#chunks) this.#budget.give(chunk);
    this.#chunks = [];
    this.size = 0;
    this.#head = 0;
    this.#tail = 0;
  }
}
