// The body of a message on the way in: how many octets are left, where data lies, where the message ends. Knows nothing
// of connections; one instance lives as long as its connection and is begun anew for each message.

import type { Header } from '../h2/header.ts';
import { ChunkedDecoder } from './chunked-decoder.ts';
import type { HeadLimits, InputBudget } from './head-gatherer.ts';
import type { HttpFault } from './http-error.ts';

export class BodyReader {
  /** After `data`: where the octets lie. After `end`: `dataEnd` is the position after the message. */
  dataStart = 0;
  dataEnd = 0;
  readonly #limits: HeadLimits;
  readonly #budget: InputBudget;
  #decoder: ChunkedDecoder | undefined;
  #chunked = false;
  /** Octets left by length; Infinity until the connection ends. */
  #left = 0;

  constructor(limits: HeadLimits, budget: InputBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get chunked(): boolean {
    return this.#chunked;
  }

  /** Octets that are surely still to come; Infinity when nobody knows. */
  get left(): number {
    return this.#chunked ? Number.POSITIVE_INFINITY : this.#left;
  }

  /** Of a chunked message that ended. */
  get trailers(): readonly Header[] {
    return this.#chunked ? (this.#decoder?.trailers ?? []) : [];
  }

  /** After `fault`. */
  get fault(): HttpFault {
    return this.#decoder?.fault as HttpFault;
  }

  /** @param contentLength octets; Infinity for a body that ends with the connection. Ignored if chunked. */
  begin(chunked: boolean, contentLength: number): void {
    this.#chunked = chunked;
    this.#left = contentLength;
    if (!chunked) return;
    if (this.#decoder === undefined) this.#decoder = new ChunkedDecoder(this.#limits, this.#budget);
    else this.#decoder.reset();
  }

  /** Reads on from `at` (before `end`); as ChunkedDecoder.next, `done` also when the last octet by length was given out before. */
  next(bytes: Buffer, at: number, end: number): 'data' | 'done' | 'more' | 'fault' {
    if (!this.#chunked) return this.#byLength(at, end);
    const decoder = this.#decoder as ChunkedDecoder;
    const outcome = decoder.next(bytes, at, end);
    this.dataStart = decoder.dataStart;
    this.dataEnd = decoder.dataEnd;
    return outcome;
  }

  /** By length all was given out: the message is complete, though no octet followed to show it. */
  get complete(): boolean {
    return !this.#chunked && this.#left === 0;
  }

  /** Gives memory back. */
  close(): void {
    this.#decoder?.reset();
  }

  #byLength(at: number, end: number): 'data' | 'done' {
    this.dataStart = at;
    if (this.#left === 0) {
      this.dataEnd = at;
      return 'done';
    }
    const length = Math.min(this.#left, end - at);
    this.#left -= length;
    this.dataEnd = at + length;
    return 'data';
  }
}
