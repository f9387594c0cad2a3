// One direction of an exchange: bytes of one stream go on to another as they come, nothing is kept while the other takes
// them. What it does not take waits, bounded by the source's window and by the worker's budget; credit goes back to the
// source only for what was passed on. Works without a destination until there is one.

import type { HttpStream } from '../../mesh/http/stream.ts';
import type { Header } from '../../mesh/h2/header.ts';
import { Slab } from '../../mesh/io/slab.ts';
import { type BufferBudget, ByteQueue, type ByteWriter } from '../../mesh/io/byte-queue.ts';

/** Room that writeData overwrites in front of the payload. */
export const headRoom = 9;
const scratchBytes = 64 * 1024;
const scratch = new Slab(headRoom + scratchBytes);

/** The most that is kept of a body to send it again. */
export const maxKeptBytes = 64 * 1024;

const empty = Buffer.alloc(0);

export class BodyPipe implements ByteWriter {
  /** Payload octets that came in. */
  bytes = 0;
  /** The source ended its direction. */
  ended = false;
  /** The end was passed on; nothing more to do. */
  finished = false;
  #budget: BufferBudget;
  #source: HttpStream | undefined;
  #target: HttpStream | undefined;
  #queue: ByteQueue | undefined;
  #trailers: readonly Header[] | undefined;
  /** Everything that came is in `#copy`, as it may have to be sent again. */
  #keeping = false;
  /** Of what came, from the first octet on; one piece, or many small ones would cost far more than they hold. */
  #copy: Buffer = empty;
  #copied = 0;
  #credited = 0;
  /** Bytes at the head of the queue that were credited before. */
  #uncredited = 0;

  /** @param source gets its credit back; undefined for bytes that are made here. */
  constructor(budget: BufferBudget, source: HttpStream | undefined) {
    this.#budget = budget;
    this.#source = source;
  }

  /** Bytes waiting for the destination. */
  get waiting(): number {
    return this.#queue === undefined ? 0 : this.#queue.size;
  }

  /** All of it can be sent to another destination. */
  get replayable(): boolean {
    return this.#keeping || this.#credited === 0;
  }

  /** From now on what comes is kept, as long as it is little; to be called before anything came. */
  keep(): void {
    this.#keeping = true;
  }

  /** What came so far, or its beginning where that is more than may be kept. */
  kept(): Buffer {
    return Buffer.from(this.#copy.subarray(0, this.#copied));
  }

  /** All that came, from the first octet on; undefined where that is more than is kept. */
  whole(): Buffer | undefined {
    return this.#copied === this.bytes ? this.kept() : undefined;
  }

  /** It will not be sent again. */
  forgetKept(): void {
    this.#keeping = false;
    this.#budget.release(this.#copy.length);
    this.#copy = empty;
    this.#copied = 0;
  }

  /** Where to; what waits goes there at once. Undefined: bytes wait again. */
  set target(target: HttpStream | undefined) {
    this.#target = target;
    if (target !== undefined) this.drain();
  }

  /** False when the budget is spent: the exchange is to be given up. */
  data(slab: Slab, offset: number, length: number): boolean {
    this.bytes += length;
    if (this.#keeping && !this.#keepBytes(slab, offset, length)) return false;
    let taken = 0;
    if (this.#target !== undefined && this.waiting === 0) {
      taken = writeTo(this.#target, slab, offset, length);
      if (taken > 0) this.#credit(taken);
    }
    if (taken === length) return true;
    this.#queue ??= new ByteQueue(this.#budget);
    return this.#queue.push(slab, offset + taken, length - taken);
  }

  /** For another destination: all that came waits again. Only while `replayable`; false when the budget is spent. */
  restart(): boolean {
    this.#target = undefined;
    this.finished = false;
    if (!this.#keeping || this.#credited === 0) return true;
    this.#queue?.clear();
    const queue = new ByteQueue(this.#budget);
    this.#queue = queue;
    this.#copy.copy(scratch.bytes, headRoom, 0, this.#copied);
    if (!queue.push(scratch, headRoom, this.#copied)) return false;
    this.#uncredited = this.#credited;
    return true;
  }

  trailers(headers: readonly Header[]): void {
    this.#trailers = headers;
  }

  end(): void {
    this.ended = true;
    this.#finish();
  }

  /** The destination may have room again. */
  drain(): void {
    const target = this.#target;
    if (target === undefined) return;
    const queue = this.#queue;
    if (queue !== undefined && queue.size > 0) {
      const written = queue.drainTo(this);
      const known = Math.min(written, this.#uncredited);
      this.#uncredited -= known;
      if (written > known) this.#credit(written - known);
    }
    this.#finish();
  }

  /** For the queue. */
  write(slab: Slab, offset: number, length: number): number {
    return this.#target === undefined ? 0 : writeTo(this.#target, slab, offset, length);
  }

  /** Gives everything back. */
  clear(): void {
    this.#target = undefined;
    this.forgetKept();
    this.#queue?.clear();
  }

  #credit(bytes: number): void {
    this.#credited += bytes;
    this.#source?.consume(bytes);
  }

  /** False when the budget is spent and what begins here is still to be decided about. */
  #keepBytes(slab: Slab, offset: number, length: number): boolean {
    const all = this.bytes <= maxKeptBytes;
    // More than is kept, but nothing was passed on yet: whoever decides about the request may want to see how it begins.
    if (!all && this.#target !== undefined) {
      this.forgetKept();
      return true;
    }
    const count = Math.min(length, maxKeptBytes - this.#copied);
    if (!this.#growTo(this.#copied + count)) {
      this.forgetKept();
      return this.#target !== undefined;
    }
    slab.bytes.copy(this.#copy, this.#copied, offset, offset + count);
    this.#copied += count;
    this.#keeping = all;
    return true;
  }

  #growTo(bytes: number): boolean {
    const before = this.#copy.length;
    if (bytes <= before) return true;
    // Most bodies come in one piece.
    const size = before === 0 ? bytes : Math.min(Math.max(2 * before, bytes), maxKeptBytes);
    if (!this.#budget.reserve(size - before)) return false;
    const grown = Buffer.allocUnsafe(size);
    this.#copy.copy(grown, 0, 0, this.#copied);
    this.#copy = grown;
    return true;
  }

  #finish(): void {
    const target = this.#target;
    if (!this.ended || this.finished || target === undefined || this.waiting > 0) return;
    this.finished = true;
    if (this.#trailers === undefined || this.#trailers.length === 0) target.endData();
    else target.trailers(this.#trailers);
  }
}

/** Writes as much as the stream takes now; returns how much that was. */
function writeTo(target: HttpStream, slab: Slab, offset: number, length: number): number {
  let written = 0;
  while (written < length) {
    const allowance = target.sendAllowance();
    if (allowance === 0) break;
    let count = Math.min(allowance, length - written);
    const at = offset + written;
    if (at >= headRoom) target.writeData(slab, at, count, false);
    else {
      count = Math.min(count, scratchBytes);
      slab.bytes.copy(scratch.bytes, headRoom, at, at + count);
      target.writeData(scratch, headRoom, count, false);
    }
    written += count;
  }
  return written;
}
