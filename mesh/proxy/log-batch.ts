// Access-log lines on their way from a data worker to the main thread: collected and handed over in batches, so that
// logging costs a connection or a request no message of its own. Bounded: what does not fit is counted, not kept.

import type { Reactor } from '../io/reactor.ts';

/** Lines wait at most this long, ms. */
const batchDelayMs = 20;
const maxBatchChars = 256 * 1024;

export interface LogBatchMessage {
  readonly kind: 'access-log';
  readonly text: string;
  /** Lines that did not fit. */
  readonly dropped: number;
}

export class LogBatch {
  readonly #post: (message: LogBatchMessage) => void;
  readonly #reactor: Reactor;
  #lines: string[] = [];
  #chars = 0;
  #dropped = 0;
  #scheduled = false;

  constructor(post: (message: LogBatchMessage) => void, reactor: Reactor) {
    this.#post = post;
    this.#reactor = reactor;
  }

  /** @param line with its line feed */
  add(line: string): void {
    if (this.#chars + line.length > maxBatchChars) {
      this.#dropped++;
      return;
    }
    this.#lines.push(line);
    this.#chars += line.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#reactor.after(batchDelayMs, () => this.flush());
  }

  /** Hands over what waits. */
  flush(): void {
    this.#scheduled = false;
    if (this.#lines.length === 0 && this.#dropped === 0) return;
    this.#post({ kind: 'access-log', text: this.#lines.join(''), dropped: this.#dropped });
    this.#lines = [];
    this.#chars = 0;
    this.#dropped = 0;
  }
}
