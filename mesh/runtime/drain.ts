// A graceful end: say that it has begun, wait for the work that is under way, and cut what is left at a deadline.
// Knows no sockets and no processes; each part listens to the two signals and registers its own work.

import type { Clock } from './clock.ts';

export interface DrainResult {
  /** Pieces of work that were still open at the deadline; 0 if everything ended in time. */
  readonly remaining: number;
}

export class Drain {
  readonly #clock: Clock;
  readonly #began = new AbortController();
  readonly #cut = new AbortController();
  readonly #finished = Promise.withResolvers<DrainResult>();
  #open = 0;
  #done = false;
  #deadline = Number.POSITIVE_INFINITY;
  #cancelDeadline: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Aborts when draining begins: take no new work, say GOAWAY. */
  get signal(): AbortSignal {
    return this.#began.signal;
  }

  /** Aborts at the deadline, if work is left: cut it. */
  get cutSignal(): AbortSignal {
    return this.#cut.signal;
  }

  get draining(): boolean {
    return this.#began.signal.aborted;
  }

  /** Pieces of work under way. */
  get open(): number {
    return this.#open;
  }

  /** Registers a piece of work that draining waits for: `using work = drain.track()`. Disposal is idempotent. */
  track(): Disposable {
    this.#open++;
    let ended = false;
    return {
      [Symbol.dispose]: () => {
        if (ended) return;
        ended = true;
        this.#open--;
        if (this.draining && this.#open === 0) this.#finish();
      },
    };
  }

  /**
   * Begins to drain; resolves when no work is left or at the deadline, `deadlineMs` (0 or more) from now. A further call
   * can bring the deadline forward but not put it off, and resolves together with the first.
   */
  start({ deadlineMs }: { readonly deadlineMs: number }): Promise<DrainResult> {
    if (this.#done) return this.#finished.promise;
    const deadline = this.#clock.monotonic() + deadlineMs;
    if (deadline < this.#deadline) {
      this.#deadline = deadline;
      this.#cancelDeadline?.();
      const timer = this.#clock.after(deadlineMs, () => this.#finish());
      this.#cancelDeadline = () => timer.cancel();
    }
    if (!this.draining) {
      // Listeners may end their work at once, or register more of it while they say goodbye.
      using _goodbye = this.track();
      this.#began.abort();
    }
    return this.#finished.promise;
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#cancelDeadline?.();
    const remaining = this.#open;
    if (remaining > 0) this.#cut.abort();
    this.#finished.resolve({ remaining });
  }
}
