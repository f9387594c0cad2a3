// Timers of a reactor: a hashed wheel. Setting and cancelling are constant time, firing is coarse (one tick late at
// most), which is right for timeouts. Owns no clock: the reactor tells it the time.

import type { Timer } from '../runtime/clock.ts';

const tickMs = 10;
const slotCount = 1024;

class WheelTimer implements Timer {
  dueTick: number;
  run: (() => void) | undefined;

  constructor(dueTick: number, run: () => void) {
    this.dueTick = dueTick;
    this.run = run;
  }

  cancel(): void {
    this.run = undefined;
  }
}

export class TimerWheel {
  #slots: WheelTimer[][] = Array.from({ length: slotCount }, () => []);
  #tick: number;
  #pending = 0;

  /** @param nowMs monotonic milliseconds, as in every later call. */
  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / tickMs);
  }

  /** Runs `run` once, `delayMs` (0 to 2^31-1) from `nowMs`, at most one tick (10 ms) late. */
  set(nowMs: number, delayMs: number, run: () => void): Timer {
    const dueTick = Math.max(this.#tick + 1, Math.ceil((nowMs + delayMs) / tickMs));
    const timer = new WheelTimer(dueTick, run);
    this.#slots[dueTick % slotCount]?.push(timer);
    this.#pending++;
    return timer;
  }

  /** Milliseconds until the wheel wants to be advanced again; -1 when no timer is set. */
  waitMs(nowMs: number): number {
    if (this.#pending === 0) return -1;
    for (let ahead = 1; ahead <= slotCount; ahead++) {
      const slot = this.#slots[(this.#tick + ahead) % slotCount];
      if (slot !== undefined && slot.length > 0)
        return Math.max(0, Math.ceil((this.#tick + ahead) * tickMs - nowMs));
    }
    return -1;
  }

  /**
   * Fires everything due at `nowMs`. A timer set while firing runs at a later tick; what a timer throws goes to
   * `onError`, so that one connection's timer never keeps another's from firing.
   */
  advance(nowMs: number, onError: (error: unknown) => void): void {
    const target = Math.floor(nowMs / tickMs);
    if (this.#pending === 0) {
      this.#tick = Math.max(this.#tick, target);
      return;
    }
    // After a long sleep one full turn visits every slot; more turns would find nothing new.
    if (target - this.#tick > slotCount) this.#tick = target - slotCount;
    while (this.#tick < target) {
      this.#tick++;
      this.#fire(this.#tick % slotCount, target, onError);
    }
  }

  #fire(index: number, target: number, onError: (error: unknown) => void): void {
    const slot = this.#slots[index];
    if (slot === undefined || slot.length === 0) return;
    this.#slots[index] = [];
    const kept: WheelTimer[] = [];
    for (const timer of slot) {
      if (timer.run === undefined) {
        this.#pending--;
      } else if (timer.dueTick > target) {
        kept.push(timer);
      } else {
        this.#pending--;
        const run = timer.run;
        timer.run = undefined;
        try {
          run();
        } catch (error) {
          onError(error);
        }
      }
    }
    const added = this.#slots[index];
    this.#slots[index] = added === undefined || added.length === 0 ? kept : kept.concat(added);
  }
}
