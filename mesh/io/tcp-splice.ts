// Joins two TCP connections: plaintext in (or out of) the mesh. FIN and reset are carried over as what they are, a slow
// side stops the other by not being read. Owns both connections from construction to the end.

import type { Timer } from '../runtime/clock.ts';
import { type BufferBudget, ByteQueue } from './byte-queue.ts';
import { BROKEN, ENDED, type IoHandler, READABLE, type Reactor, WRITABLE } from './reactor.ts';
import { Slab } from './slab.ts';
import { FAILED, type TcpStream, WOULD_BLOCK } from './tcp-stream.ts';

export type TcpSpliceEnd = 'finished' | 'reset' | 'idle' | 'overload' | 'closed';

export interface TcpSpliceOptions {
  readonly budget: BufferBudget;
  /** ms without a byte either way; 0 never. */
  readonly idleTimeoutMs: number;
  /** ms without a byte once one direction has ended. */
  readonly halfClosedTimeoutMs: number;
  /** Called once, after both connections were closed. */
  readonly onEnd: (end: TcpSpliceEnd) => void;
}

const chunk = new Slab(256 * 1024);
const roundsPerTurn = 4;

/** One direction: reads `from`, writes `to`. */
class Direction {
  bytes = 0;
  ended = false;
  readable = false;
  /** The end was announced: it is to be found by reading until there is nothing. */
  thorough = false;
  readonly from: TcpStream;
  readonly to: TcpStream;
  readonly queue: ByteQueue;
  /** Of the source: goes on with this direction in the next turn. */
  handler: IoHandler | undefined;

  constructor(from: TcpStream, to: TcpStream, budget: BufferBudget) {
    this.from = from;
    this.to = to;
    this.queue = new ByteQueue(budget);
  }
}

type Outcome = 'idle' | 'busy' | 'broken' | 'overload';

export class TcpSplice {
  #reactor: Reactor;
  #options: TcpSpliceOptions;
  #forward: Direction;
  #backward: Direction;
  #ended = false;
  #timer: Timer | undefined;
  #lastTotal = 0;

  /** @param first who opened the connection; `forward` counts its bytes. */
  constructor(reactor: Reactor, first: TcpStream, second: TcpStream, options: TcpSpliceOptions) {
    this.#reactor = reactor;
    this.#options = options;
    this.#forward = new Direction(first, second, options.budget);
    this.#backward = new Direction(second, first, options.budget);
    first.watch(reactor, this.#side(this.#forward, this.#backward));
    second.watch(reactor, this.#side(this.#backward, this.#forward));
    this.#watchIdle(options.idleTimeoutMs);
  }

  /** Bytes from the first to the second connection. */
  get forwardBytes(): number {
    return this.#forward.bytes;
  }

  get backwardBytes(): number {
    return this.#backward.bytes;
  }

  /** Both sides see a reset. Idempotent. */
  close(): void {
    this.#end('closed', true);
  }

  /** Handler of one socket: it is the source of `out` and the sink of `back`. */
  #side(out: Direction, back: Direction): IoHandler {
    const handler: IoHandler = {
      onReady: (events) => {
        if (this.#ended) return;
        if ((events & WRITABLE) !== 0 && back.queue.size > 0) this.#settle(back, this.#drain(back));
        if (this.#ended) return;
        if ((events & READABLE) !== 0) out.readable = true;
        if ((events & ENDED) !== 0) out.thorough = true;
        if (out.readable) this.#settle(out, this.#pump(out));
        if (this.#ended || (events & BROKEN) === 0) return;
        // After the source's end, or while its sink is slow, no read would find the reset.
        if ((out.ended || out.queue.size > 0) && out.from.wasReset()) this.#end('reset', true);
      },
    };
    out.handler = handler;
    return handler;
  }

  #settle(direction: Direction, outcome: Outcome): void {
    if (outcome === 'busy' && direction.handler !== undefined) this.#reactor.defer(direction.handler);
    else if (outcome === 'broken') this.#end('reset', true);
    else if (outcome === 'overload') this.#end('overload', true);
    else if (this.#forward.ended && this.#backward.ended && this.#empty()) this.#end('finished', false);
  }

  #pump(direction: Direction): Outcome {
    for (let round = 0; round < roundsPerTurn; round++) {
      if (direction.ended || direction.queue.size > 0) return 'idle';
      const count = direction.from.read(chunk, 0, chunk.bytes.length);
      if (count === WOULD_BLOCK) {
        direction.readable = false;
        return 'idle';
      }
      if (count === FAILED) return 'broken';
      if (count === 0) {
        direction.ended = true;
        direction.to.shutdownWrite();
        this.#watchIdle(this.#options.halfClosedTimeoutMs);
        return 'idle';
      }
      direction.bytes += count;
      const written = direction.to.write(chunk, 0, count);
      if (written === FAILED) return 'broken';
      if (written < count && !direction.queue.push(chunk, written, count - written)) return 'overload';
      // A short read empties the kernel's queue; what comes later brings a new edge (epoll(7)).
      if (count < chunk.bytes.length && !direction.thorough) {
        direction.readable = false;
        return 'idle';
      }
    }
    return 'busy';
  }

  #drain(direction: Direction): Outcome {
    if (direction.queue.drainTo(direction.to) === FAILED) return 'broken';
    return direction.queue.size === 0 && direction.readable ? this.#pump(direction) : 'idle';
  }

  #empty(): boolean {
    return this.#forward.queue.size === 0 && this.#backward.queue.size === 0;
  }

  #end(end: TcpSpliceEnd, reset: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    for (const { from, queue } of [this.#forward, this.#backward]) {
      queue.clear();
      this.#reactor.forget(from.fd);
      if (reset) from.reset();
      else from.close();
    }
    this.#options.onEnd(end);
  }

  // As in a tunnel: the timer looks whether bytes moved instead of being moved by every byte.
  #watchIdle(timeoutMs: number): void {
    this.#timer?.cancel();
    if (timeoutMs === 0) return;
    this.#lastTotal = this.#delivered();
    this.#timer = this.#reactor.after(timeoutMs, () => {
      if (this.#delivered() !== this.#lastTotal) this.#watchIdle(timeoutMs);
      else this.#end('idle', true);
    });
  }

  #delivered(): number {
    return this.#forward.bytes - this.#forward.queue.size + this.#backward.bytes - this.#backward.queue.size;
  }
}
