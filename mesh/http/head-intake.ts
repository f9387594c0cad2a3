// Reads heads off arriving octets: from where they lie if a head came in one piece, else put together first. Owns the
// unfinished head of one connection; knows nothing of what comes behind a head.

import {
  completeHead,
  type Gathered,
  HeadGatherer,
  type HeadLimits,
  type InputBudget,
} from './head-gatherer.ts';
import type { HttpFault } from './http-error.ts';

/** What understands a complete head, for example RequestHeadReader; it holds the head until the next read. */
export interface HeadParser<Options> {
  /** Position behind the head that was read. */
  readonly end: number;
  read(
    bytes: Buffer,
    span: { readonly start: number; readonly limit: number },
    options: Options,
  ): HttpFault | undefined;
}

export class HeadIntake<Options> {
  /** After `read`: position behind the octets it used. */
  next = 0;
  readonly #parser: HeadParser<Options>;
  readonly #options: Options;
  readonly #maxHeadBytes: number;
  readonly #gatherer: HeadGatherer;

  constructor(
    parser: HeadParser<Options>,
    {
      what,
      limits,
      budget,
      options,
    }: {
      readonly what: Gathered;
      readonly limits: HeadLimits;
      readonly budget: InputBudget;
      readonly options: Options;
    },
  ) {
    this.#parser = parser;
    this.#options = options;
    this.#maxHeadBytes = limits.maxHeadBytes;
    this.#gatherer = new HeadGatherer(what, limits, budget);
  }

  /** Something of a head came, but not its end. */
  get unfinished(): boolean {
    return this.#gatherer.length > 0;
  }

  /** `read`: the parser holds a head. `more`: everything up to `end` belongs to one that goes on. Else why there is none. */
  read(bytes: Buffer, at: number, end: number): 'read' | 'more' | HttpFault {
    const gatherer = this.#gatherer;
    const parser = this.#parser;
    const limit = gatherer.length === 0 ? completeHead(bytes, at, end) : -1;
    if (limit !== -1 && limit - at <= this.#maxHeadBytes) {
      const refused = parser.read(bytes, { start: at, limit }, this.#options);
      this.next = parser.end;
      return refused ?? 'read';
    }
    const taken = gatherer.add(bytes, at, end);
    this.next = end;
    if (taken === -1) return 'more';
    if (typeof taken !== 'number') {
      gatherer.clear();
      return taken;
    }
    this.next = at + taken;
    const refused = parser.read(gatherer.bytes, { start: 0, limit: gatherer.length }, this.#options);
    gatherer.clear();
    return refused ?? 'read';
  }

  /** Forgets what is unfinished and gives its memory back. */
  clear(): void {
    this.#gatherer.clear();
  }
}
