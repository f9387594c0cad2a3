// Puts a head together that came in pieces: copies them until the blank line, looking at each octet once, and refuses
// early what will never be a head: too long, too many lines, a line that ends in a bare LF. A head that comes in one
// piece never gets here. Invariant: what it holds is at most `maxBytes`, and counted in `heldBytes`.

import { fault, type HttpFault } from './http-error.ts';

const CR = 0x0d;
const LF = 0x0a;
/** RFC 9112 section 2.2: an empty line or so before a request line is to be ignored; more are noise. */
const maxEmptyLines = 4;
const firstBytes = 1024;

/** What is gathered: empty lines come before a request, nowhere else, and trailers may be nothing but the blank line. */
export type Gathered = 'request' | 'response' | 'trailers';

/** Memory that unfinished heads and waiting requests of a thread hold together. */
export class InputBudget {
  readonly limit: number;
  used = 0;

  /** @param limit bytes */
  constructor(limit: number) {
    this.limit = limit;
  }
}

const blankLine = Buffer.from('\r\n\r\n');
/** Up to here a second pipelined head that is read in vain costs less than a search. */
const shortBytes = 4096;

/**
 * A position before which the blank line of a head at `at` surely lies, -1 if it has not come. A head in one piece ends
 * most often where what came ends, which needs no search.
 */
export function completeHead(bytes: Buffer, at: number, end: number): number {
  // Empty lines in front are left to the gatherer.
  if (bytes[at] === CR) return -1;
  if (
    end - at <= shortBytes &&
    end - at > 4 &&
    bytes[end - 1] === LF &&
    bytes[end - 2] === CR &&
    bytes[end - 3] === LF &&
    bytes[end - 4] === CR
  ) {
    return end;
  }
  const found = bytes.indexOf(blankLine, at);
  return found === -1 || found + 4 > end ? -1 : found + 4;
}

export interface HeadLimits {
  /** Octets of a head with its first line. */
  readonly maxHeadBytes: number;
  readonly maxFields: number;
}

export class HeadGatherer {
  readonly #limits: HeadLimits;
  readonly #budget: InputBudget;
  readonly #what: Gathered;
  #bytes: Buffer | undefined;
  #length = 0;
  /** Where the line that is not complete yet begins. */
  #lineStart = 0;
  #lines = 0;
  #emptyLines = 0;

  constructor(what: Gathered, limits: HeadLimits, budget: InputBudget) {
    this.#what = what;
    this.#limits = limits;
    this.#budget = budget;
  }

  /** Octets of an unfinished or, after `add`, of the complete head. */
  get length(): number {
    return this.#length;
  }

  /** The complete head lies at 0 to `length`. */
  get bytes(): Buffer {
    return this.#bytes as Buffer;
  }

  /**
   * Takes octets up to and with the blank line. Returns how many it took if that completes the head, -1 if it took all
   * and the head goes on, or why it will never be one.
   */
  add(bytes: Buffer, start: number, end: number): number | HttpFault {
    let at = start;
    while (at < end) {
      const found = bytes.indexOf(LF, at);
      const lineEnd = found === -1 || found >= end ? end : found + 1;
      const refused = this.#append(bytes, at, lineEnd);
      if (refused !== undefined) return refused;
      at = lineEnd;
      if (found === -1 || found >= end) return -1;
      const outcome = this.#endLine();
      if (outcome === 'head') return at - start;
      if (outcome !== 'line') return outcome;
    }
    return -1;
  }

  /** Forgets the head and gives its memory back. */
  clear(): void {
    if (this.#bytes === undefined) return;
    this.#budget.used -= this.#bytes.length;
    this.#bytes = undefined;
    this.#length = 0;
    this.#lineStart = 0;
    this.#lines = 0;
    this.#emptyLines = 0;
  }

  #endLine(): 'head' | 'line' | HttpFault {
    const bytes = this.bytes;
    const length = this.#length - this.#lineStart;
    if (length < 2 || bytes[this.#length - 2] !== CR) return fault(400, 'a line ends in a bare LF');
    if (length > 2) {
      if (this.#lines++ > this.#limits.maxFields)
        return fault(431, `more than ${this.#limits.maxFields} fields`);
      this.#lineStart = this.#length;
      return 'line';
    }
    if (this.#lines > 0 || this.#what === 'trailers') return 'head';
    if (this.#what === 'response' || this.#emptyLines++ >= maxEmptyLines)
      return fault(400, 'an empty first line');
    this.#length = 0;
    return 'line';
  }

  #append(bytes: Buffer, start: number, end: number): HttpFault | undefined {
    const length = this.#length + end - start;
    if (length > this.#limits.maxHeadBytes) {
      return this.#lines === 0
        ? fault(414, 'the first line is too long')
        : fault(431, 'the head is too large');
    }
    let own = this.#bytes;
    if (own === undefined || own.length < length) {
      const size = Math.max(firstBytes, 2 * length);
      const had = own?.length ?? 0;
      if (this.#budget.used + size - had > this.#budget.limit) return fault(503, 'too many unfinished heads');
      this.#budget.used += size - had;
      const grown = Buffer.allocUnsafeSlow(size);
      own?.copy(grown, 0, 0, this.#length);
      own = grown;
      this.#bytes = own;
    }
    bytes.copy(own, this.#length, start, end);
    this.#length = length;
    return undefined;
  }
}
