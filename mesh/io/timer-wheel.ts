// Timers of a reactor: a hierarchical wheel (Varghese and Lauck, 1987, scheme 7). Setting and cancelling are constant
// time, and a cancelled timer is garbage at once. The next tick with work is known, not searched for in every turn; a far
// timer wakes nobody before its time but to move down a level. Firing is coarse (one tick late at most), which is right
// for timeouts. Owns no clock: the reactor tells it the time.

import type { Timer } from '../runtime/clock.ts';

const tickMs = 10;
const slotBits = 8;
const slotCount = 1 << slotBits;
/** 2^32 ticks together, more than the longest delay. */
const levelCount = 4;

class WheelTimer implements Timer {
  readonly dueTick: number;
  run: (() => void) | undefined;
  /** Of its slot, a ring with the slot's head in it; itself when it is in none. */
  previous: WheelTimer = this;
  next: WheelTimer = this;
  readonly #wheel: TimerWheel | undefined;

  constructor(dueTick: number, wheel?: TimerWheel, run?: () => void) {
    this.dueTick = dueTick;
    this.#wheel = wheel;
    this.run = run;
  }

  cancel(): void {
    if (this.run === undefined) return;
    this.#wheel?.forget(this);
  }

  insertBefore(head: WheelTimer): void {
    this.previous = head.previous;
    this.next = head;
    head.previous.next = this;
    head.previous = this;
  }

  unlink(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
    this.previous = this;
    this.next = this;
  }
}

export class TimerWheel {
  /** Heads, level after level. Level L holds what is due in 256^L to 256^(L+1) ticks, by bits 8L to 8L+7 of the due tick. */
  readonly #slots = Array.from({ length: levelCount * slotCount }, () => new WheelTimer(0));
  #tick: number;
  #pending = 0;
  /** No slot has work before this tick; it may have none then either, when timers were cancelled. */
  #nextTick = Number.POSITIVE_INFINITY;

  /** @param nowMs monotonic milliseconds, as in every later call. */
  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / tickMs);
  }

  /** Runs `run` once, `delayMs` (0 to 2^31-1) from `nowMs`, at most one tick (10 ms) late. */
  set(nowMs: number, delayMs: number, run: () => void): Timer {
    const dueTick = Math.max(this.#tick + 1, Math.ceil((nowMs + delayMs) / tickMs));
    const timer = new WheelTimer(dueTick, this, run);
    this.#pending++;
    this.#insert(timer);
    return timer;
  }

  /** Milliseconds until the wheel wants to be advanced again; -1 when no timer is set. */
  waitMs(nowMs: number): number {
    if (this.#pending === 0) return -1;
    return Math.max(0, Math.ceil(this.#nextTick * tickMs - nowMs));
  }

  /**
   * Fires everything due at `nowMs`. A timer set while firing runs at a later tick; what a timer throws goes to
   * `onError`, so that one connection's timer never keeps another's from firing.
   */
  advance(nowMs: number, onError: (error: unknown) => void): void {
    const target = Math.floor(nowMs / tickMs);
    while (this.#nextTick <= target) {
      this.#tick = this.#nextTick;
      this.#nextTick = Number.POSITIVE_INFINITY;
      this.#cascade();
      this.#fire(onError);
      this.#nextTick = this.#pending === 0 ? Number.POSITIVE_INFINITY : this.#findNext();
    }
    if (target > this.#tick) this.#tick = target;
  }

  /** For a timer of this wheel that is cancelled. */
  forget(timer: WheelTimer): void {
    timer.run = undefined;
    timer.unlink();
    this.#pending--;
  }

  #insert(timer: WheelTimer): void {
    const delta = timer.dueTick - this.#tick;
    let level = 0;
    for (let span = slotCount; delta >= span && level < levelCount - 1; span *= slotCount) level++;
    const at = timer.dueTick >>> (slotBits * level);
    timer.insertBefore(this.#slot(level, at));
    // Of the higher levels a slot is moved down when its first tick begins.
    const workTick = level === 0 ? timer.dueTick : timer.dueTick - (timer.dueTick % slotCount ** level);
    if (workTick < this.#nextTick) this.#nextTick = workTick;
  }

  /** Where ticks of a higher level begin, its timers move down: at most into the slot that fires now. */
  #cascade(): void {
    for (let level = 1; level < levelCount; level++) {
      if (this.#tick % slotCount ** level !== 0) return;
      const head = this.#slot(level, this.#tick >>> (slotBits * level));
      for (let timer = head.next; timer !== head; timer = head.next) {
        timer.unlink();
        this.#insert(timer);
      }
    }
  }

  #fire(onError: (error: unknown) => void): void {
    const head = this.#slot(0, this.#tick);
    for (let timer = head.next; timer !== head; timer = head.next) {
      const run = timer.run;
      this.forget(timer);
      try {
        run?.();
      } catch (error) {
        onError(error);
      }
    }
  }

  /** The first tick from here on with a slot to fire or to move down. */
  #findNext(): number {
    let next = Number.POSITIVE_INFINITY;
    for (let level = 0; level < levelCount; level++) {
      const ticks = slotCount ** level;
      const at = Math.floor(this.#tick / ticks);
      for (let ahead = 1; ahead <= slotCount; ahead++) {
        const head = this.#slot(level, at + ahead);
        if (head.next === head) continue;
        next = Math.min(next, (at + ahead) * ticks);
        break;
      }
    }
    return next;
  }

  #slot(level: number, at: number): WheelTimer {
    return this.#slots[level * slotCount + (at & (slotCount - 1))] as WheelTimer;
  }
}
