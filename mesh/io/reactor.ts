// The event loop of a data worker: one epoll instance, edge-triggered, timers, deferred work and a wake-up from
// other threads. While it runs, promises, microtasks and Node's timers of its thread never run: everything on it is
// callbacks and state machines. One reactor belongs to one thread.

// The global of this name is looked up through a getter each time.
import { performance } from 'node:perf_hooks';
import type { Timer } from '../runtime/clock.ts';
import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { Slab } from './slab.ts';
import { TimerWheel } from './timer-wheel.ts';
import { WorkList } from './work-list.ts';

export const READABLE = libc.EPOLLIN | libc.EPOLLRDHUP | libc.EPOLLHUP | libc.EPOLLERR;
/**
 * A short read does not mean that nothing is left: the peer ended its direction, the connection broke, or urgent data
 * is in the way (recv stops in front of it). Read on until that shows.
 */
export const ENDED = libc.EPOLLRDHUP | libc.EPOLLHUP | libc.EPOLLERR | libc.EPOLLPRI;
/** The connection was reset or failed. */
export const BROKEN = libc.EPOLLERR;
export const WRITABLE = libc.EPOLLOUT | libc.EPOLLHUP | libc.EPOLLERR;

/** Something with a file descriptor on the loop. A deferred call can come after its owner closed: check. */
export interface IoHandler {
  /** @param events epoll bits; test against READABLE and WRITABLE. */
  onReady(events: number): void;
}

/** Work that is done once at the end of a turn, however often it was asked for during it. */
export interface TurnTask {
  onTurnEnd(): void;
}

const EVERYTHING = READABLE | ENDED | WRITABLE;

const batchSize = 256;
// epoll_event in 32-bit words, packed on x86-64, padded elsewhere (include/uapi/linux/eventpoll.h): events, and the data,
// which is ours: descriptor and registration.
const eventWords = process.arch === 'x64' ? 3 : 4;
const dataWord = process.arch === 'x64' ? 1 : 2;
const allEvents = (libc.EPOLLIN | libc.EPOLLPRI | libc.EPOLLOUT | libc.EPOLLRDHUP | libc.EPOLLET) >>> 0;

export class Reactor {
  #epoll: number;
  #wake: number;
  #events = new Slab(batchSize * eventWords * 4);
  #eventWords = wordsOf(this.#events);
  #control = new Slab(16);
  #controlWords = wordsOf(this.#control);
  #handlers: (IoHandler | undefined)[] = [];
  // Counts registrations of each descriptor: an event that was queued for a closed one must not reach its successor.
  #generations: number[] = [];
  #deferred = new WorkList<IoHandler>();
  /** What was deferred in the turn before: changes places with the other one. */
  #due = new WorkList<IoHandler>();
  #soon = new WorkList<IoHandler>();
  #endOfTurn = new WorkList<TurnTask>();
  #wheel: TimerWheel;
  #nowMs: number;
  #running = false;
  #onWake: () => void = () => {};
  #onError: (error: unknown) => void;

  /** @param options.onError gets what a handler throws; the loop goes on, as one connection must not end the others. */
  constructor(options: { readonly onError: (error: unknown) => void }) {
    this.#onError = options.onError;
    this.#nowMs = performance.now();
    this.#wheel = new TimerWheel(this.#nowMs);
    this.#epoll = libc.epollCreate(libc.SOCK_CLOEXEC);
    this.#wake = libc.eventfd(0, libc.EFD_NONBLOCK | libc.EFD_CLOEXEC);
    if (this.#epoll < 0 || this.#wake < 0) {
      throw new IoError(
        'out-of-descriptors',
        'Could not create an event loop, raise the open file limit (ulimit -n)',
      );
    }
    this.#add(this.#wake, { onReady: () => this.#drainWake() }, libc.EPOLLIN);
  }

  /** The descriptor to give to `wakeReactor` in another thread. */
  get wakeFd(): number {
    return this.#wake;
  }

  /** Monotonic ms at the start of this turn of the loop; cheap to read. */
  get now(): number {
    return this.#nowMs;
  }

  /** Called on the loop after another thread woke it. */
  onWake(listener: () => void): void {
    this.#onWake = listener;
  }

  /** Calls `task.onTurnEnd()` at the end of this turn: how many small writes become one send. Ask once a turn. */
  atTurnEnd(task: TurnTask): void {
    this.#endOfTurn.push(task);
  }

  /** Watches `fd` for both directions, edge-triggered. The caller keeps ownership of the descriptor. */
  register(fd: number, handler: IoHandler): void {
    this.#add(fd, handler, allEvents);
  }

  /** Watches `fd` for reading, level-triggered: for listeners, which may stop accepting half-way. */
  registerListener(fd: number, handler: IoHandler): void {
    this.#add(fd, handler, libc.EPOLLIN);
  }

  /** Stops (or resumes) events of a listener without losing its place. */
  setListening(fd: number, on: boolean): void {
    this.#epollControl(libc.EPOLL_CTL_MOD, fd, on ? libc.EPOLLIN : 0);
  }

  /**
   * Gives a registered descriptor to another handler, without system calls. Edges that came before do not come again:
   * with `ready` the handler is called later in this turn.
   */
  adopt(fd: number, handler: IoHandler, options: { readonly ready: boolean }): void {
    this.#handlers[fd] = handler;
    if (options.ready) this.soon(handler);
  }

  /** Ends watching just before the descriptor is closed, which takes it off the epoll set by itself (epoll(7)). */
  forget(fd: number): void {
    this.#handlers[fd] = undefined;
  }

  /** Ends watching of a descriptor that stays open. */
  unregister(fd: number): void {
    this.#handlers[fd] = undefined;
    this.#epollControl(libc.EPOLL_CTL_DEL, fd, 0);
  }

  /**
   * Calls `handler.onReady` with every event before this turn ends: what a connection has to say at once still goes into
   * this turn's sends.
   */
  soon(handler: IoHandler): void {
    this.#soon.push(handler);
  }

  /** Calls `handler.onReady` with every event in the next turn: how a busy connection lets others go first. */
  defer(handler: IoHandler): void {
    this.#deferred.push(handler);
  }

  /** Runs `run` once after `delayMs`, at most about 10 ms late. */
  after(delayMs: number, run: () => void): Timer {
    return this.#wheel.set(this.#nowMs, delayMs, run);
  }

  /** Blocks the thread until `stop` is called. */
  run(): void {
    this.#running = true;
    while (this.#running) this.turn(this.#timeout());
  }

  stop(): void {
    this.#running = false;
  }

  /** One turn: wait at most `timeoutMs` (-1 forever), dispatch, fire timers, run deferred work. */
  turn(timeoutMs: number): void {
    const count = libc.epollWait(this.#epoll, this.#events.address, batchSize, timeoutMs);
    this.#nowMs = performance.now();
    const due = this.#deferred;
    this.#deferred = this.#due;
    this.#due = due;
    this.#dispatchEvents(count);
    for (let i = 0; i < due.size; i++) this.#dispatch(due.at(i), EVERYTHING);
    due.clear();
    this.#wheel.advance(this.#nowMs, this.#onError);
    // Each may ask for another one; those run in the same turn, after it.
    for (let i = 0; i < this.#soon.size; i++) this.#dispatch(this.#soon.at(i), EVERYTHING);
    this.#soon.clear();
    for (let i = 0; i < this.#endOfTurn.size; i++) this.#finish(this.#endOfTurn.at(i));
    this.#endOfTurn.clear();
  }

  /** Closes the loop's own descriptors. Registered descriptors stay with their owners. */
  [Symbol.dispose](): void {
    libc.close(this.#epoll);
    libc.close(this.#wake);
    this.#handlers = [];
  }

  #timeout(): number {
    if (this.#deferred.size > 0 || this.#soon.size > 0 || this.#endOfTurn.size > 0) return 0;
    return this.#wheel.waitMs(this.#nowMs);
  }

  #dispatchEvents(count: number): void {
    const words = this.#eventWords;
    for (let i = 0; i < count; i++) {
      const at = i * eventWords;
      const fd = words[at + dataWord] as number;
      if (this.#generations[fd] === words[at + dataWord + 1])
        this.#dispatch(this.#handlers[fd], words[at] as number);
    }
  }

  #dispatch(handler: IoHandler | undefined, events: number): void {
    try {
      handler?.onReady(events);
    } catch (error) {
      this.#onError(error);
    }
  }

  #finish(task: TurnTask | undefined): void {
    try {
      task?.onTurnEnd();
    } catch (error) {
      this.#onError(error);
    }
  }

  #drainWake(): void {
    libc.readFd(this.#wake, this.#control.address, 8);
    this.#onWake();
  }

  #add(fd: number, handler: IoHandler, events: number): void {
    this.#handlers[fd] = handler;
    this.#generations[fd] = ((this.#generations[fd] ?? 0) + 1) | 0;
    this.#epollControl(libc.EPOLL_CTL_ADD, fd, events);
  }

  #epollControl(operation: number, fd: number, events: number): void {
    const words = this.#controlWords;
    words[0] = events;
    words[dataWord] = fd;
    words[dataWord + 1] = this.#generations[fd] ?? 0;
    const result = libc.epollControl(this.#epoll, operation, fd, this.#control.address);
    if (result < 0 && operation !== libc.EPOLL_CTL_DEL) {
      const code = libc.errno();
      throw new IoError(
        'out-of-descriptors',
        `Could not watch descriptor ${fd}: ${libc.describeErrno(code)}`,
        {
          errno: code,
        },
      );
    }
  }
}

function wordsOf({ bytes }: Slab): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

const wakeSignal = new Slab(8);
wakeSignal.bytes.writeBigUInt64LE(1n, 0);

/** Wakes a reactor that blocks in another thread. Never blocks; many calls before it wakes count as one. */
export function wakeReactor(wakeFd: number): void {
  libc.writeFd(wakeFd, wakeSignal.address, 8);
}
