// How many large responses are on their way out of this process at once. A whole mesh is megabytes, and a hundred nodes
// that reconnect in one moment would have it in memory a hundred times; they take turns instead. A node that does not read
// keeps its slot for a bounded time only, so that it delays nobody for long.

import type { Clock, Timer } from '../runtime/clock.ts';

export interface SendSlotsOptions {
  readonly clock: Clock;
  /** Default 8: enough to keep the processor busy while some wait for their network. */
  readonly slots?: number;
  /** After this long a slot is taken back, ms; default 5,000: a node without much CPU reads a mesh for seconds. */
  readonly holdMs?: number;
}

export class SendSlots {
  readonly #clock: Clock;
  readonly #holdMs: number;
  readonly #waiting: Waiter[] = [];
  #free: number;

  constructor({ clock, slots = 8, holdMs = 5_000 }: SendSlotsOptions) {
    this.#clock = clock;
    this.#free = slots;
    this.#holdMs = holdMs;
  }

  /**
   * Calls `send` with the way to give the slot back: now, or when one is free, first come, first served. Returns how to stop
   * waiting. Giving back twice does nothing.
   */
  take(send: (release: () => void) => void): () => void {
    const waiter = { send };
    this.#waiting.push(waiter);
    this.#next();
    return () => {
      const at = this.#waiting.indexOf(waiter);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
  }

  #next(): void {
    while (this.#free > 0) {
      const waiter = this.#waiting.shift();
      if (waiter === undefined) return;
      this.#free -= 1;
      let held = true;
      const release = (): void => {
        if (!held) return;
        held = false;
        timer.cancel();
        this.#free += 1;
        this.#next();
      };
      const timer: Timer = this.#clock.after(this.#holdMs, release, { unref: true });
      waiter.send(release);
    }
  }
}

interface Waiter {
  send(release: () => void): void;
}
