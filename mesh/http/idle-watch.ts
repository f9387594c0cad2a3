// Notices that nothing happened for a while. The timer is not moved whenever something happens: when it fires it looks
// since when nothing did. While its owner is busy there is no timer at all.

import type { Timer } from '../runtime/clock.ts';
import type { Http1Loop } from './http1-settings.ts';

export interface IdleWatchOptions {
  readonly timeoutMs: number;
  /** False while something is under way; `touch` is called behind it. */
  readonly idle: () => boolean;
  /** Idle for `timeoutMs`. */
  readonly expired: () => void;
}

export class IdleWatch {
  readonly #loop: Http1Loop;
  readonly #options: IdleWatchOptions;
  #since: number;
  #timer: Timer | undefined;

  constructor(loop: Http1Loop, options: IdleWatchOptions) {
    this.#loop = loop;
    this.#options = options;
    this.#since = loop.now;
    this.#arm(options.timeoutMs);
  }

  /** From now on nothing happens. */
  touch(): void {
    this.#since = this.#loop.now;
    if (this.#timer === undefined) this.#arm(this.#options.timeoutMs);
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    this.#timer = this.#loop.after(delayMs, () => {
      this.#timer = undefined;
      if (!this.#options.idle()) return;
      const left = this.#since + this.#options.timeoutMs - this.#loop.now;
      if (left > 0) this.#arm(left);
      else this.#options.expired();
    });
  }
}
