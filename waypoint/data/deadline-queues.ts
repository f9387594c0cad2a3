// Timeouts of requests. Most requests end long before theirs, so setting and cancelling must cost next to nothing and
// leave nothing behind: one queue for each duration that is in use, in the order of falling due, with one timer for its
// first entry. Durations are few, as they come from configuration; others (grpc-timeout) take a timer each.

import type { Reactor } from '../../mesh/io/reactor.ts';
import type { Timer } from '../../mesh/runtime/clock.ts';

const maxQueues = 128;
/** Queues that were empty for this long are dropped, ms. */
const unusedMs = 60_000;

/** One timeout under way. */
export class Deadline implements Timer {
  readonly run: () => void;
  dueMs = 0;
  queue: DeadlineQueue | undefined;
  previous: Deadline | undefined;
  next: Deadline | undefined;
  timer: Timer | undefined;

  constructor(run: () => void) {
    this.run = run;
  }

  /** Idempotent. */
  cancel(): void {
    this.timer?.cancel();
    this.queue?.remove(this);
  }
}

class DeadlineQueue {
  readonly durationMs: number;
  #reactor: Reactor;
  #head: Deadline | undefined;
  #tail: Deadline | undefined;
  #timer: Timer | undefined;
  /** When the timer goes off, ms; infinite without one. */
  #armedFor = Number.POSITIVE_INFINITY;
  #onUnused: () => void;
  lastUsedMs = 0;

  constructor(reactor: Reactor, durationMs: number, onUnused: () => void) {
    this.#reactor = reactor;
    this.durationMs = durationMs;
    this.#onUnused = onUnused;
  }

  add(deadline: Deadline): void {
    const { now } = this.#reactor;
    this.lastUsedMs = now;
    deadline.dueMs = now + this.durationMs;
    deadline.queue = this;
    deadline.previous = this.#tail;
    if (this.#tail === undefined) this.#head = deadline;
    else this.#tail.next = deadline;
    this.#tail = deadline;
    // Mostly one is set already, for an earlier deadline that has been cancelled since.
    if (deadline.dueMs < this.#armedFor) this.#arm(this.durationMs);
  }

  remove(deadline: Deadline): void {
    if (deadline.previous === undefined) this.#head = deadline.next;
    else deadline.previous.next = deadline.next;
    if (deadline.next === undefined) this.#tail = deadline.previous;
    else deadline.next.previous = deadline.previous;
    deadline.previous = undefined;
    deadline.next = undefined;
    deadline.queue = undefined;
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#armedFor = this.#reactor.now + delayMs;
    this.#timer = this.#reactor.after(delayMs, () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const { now } = this.#reactor;
    for (let first = this.#head; first !== undefined && first.dueMs <= now; first = this.#head) {
      this.remove(first);
      first.run();
    }
    if (this.#head !== undefined) return this.#arm(this.#head.dueMs - now);
    if (now - this.lastUsedMs < unusedMs) this.#arm(unusedMs);
    else this.#onUnused();
  }
}

export class DeadlineQueues {
  #reactor: Reactor;
  #queues = new Map<number, DeadlineQueue>();

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  /** Runs `run` once after `delayMs`, at most about 20 ms late, unless it is cancelled. */
  after(delayMs: number, run: () => void): Deadline {
    const deadline = new Deadline(run);
    const queue = this.#queue(delayMs);
    if (queue === undefined) deadline.timer = this.#reactor.after(delayMs, run);
    else queue.add(deadline);
    return deadline;
  }

  #queue(durationMs: number): DeadlineQueue | undefined {
    const known = this.#queues.get(durationMs);
    if (known !== undefined) return known;
    if (this.#queues.size >= maxQueues) return undefined;
    const made = new DeadlineQueue(this.#reactor, durationMs, () => this.#queues.delete(durationMs));
    this.#queues.set(durationMs, made);
    return made;
  }
}
