// Spans on their way from a data worker to the main thread, in batches. Bounded: what does not fit is counted, not kept.

import type { Reactor } from '../../mesh/io/reactor.ts';
import type { Span } from './span.ts';

/** Spans wait at most this long, ms. */
const batchDelayMs = 100;
const maxSpans = 2_048;

export interface SpanMessage {
  readonly kind: 'spans';
  readonly spans: readonly Span[];
  /** Spans that did not fit. */
  readonly dropped: number;
}

export class SpanBatch {
  readonly #post: (message: SpanMessage) => void;
  readonly #reactor: Reactor;
  #spans: Span[] = [];
  #dropped = 0;
  #scheduled = false;

  constructor(post: (message: SpanMessage) => void, reactor: Reactor) {
    this.#post = post;
    this.#reactor = reactor;
  }

  add(span: Span): void {
    if (this.#spans.length >= maxSpans) {
      this.#dropped++;
      return;
    }
    this.#spans.push(span);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#reactor.after(batchDelayMs, () => this.flush());
  }

  /** Hands over what waits. */
  flush(): void {
    this.#scheduled = false;
    if (this.#spans.length === 0 && this.#dropped === 0) return;
    this.#post({ kind: 'spans', spans: this.#spans, dropped: this.#dropped });
    this.#spans = [];
    this.#dropped = 0;
  }
}
