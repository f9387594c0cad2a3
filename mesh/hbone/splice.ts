// Joins an application's TCP connection with a stream of a tunnel, both directions independently: FIN becomes
// END_STREAM and back, a reset stays a reset, a slow side stops only itself (the stream's window, never the tunnel).
// Counts bytes; owns the TCP connection from construction to the end.

import { ErrorCode } from '../h2/error.ts';
import type { H2Session } from '../h2/session.ts';
import type { H2Stream, StreamHandler } from '../h2/stream.ts';
import { type BufferBudget, ByteQueue } from '../io/byte-queue.ts';
import { BROKEN, ENDED, type IoHandler, READABLE, type Reactor, WRITABLE } from '../io/reactor.ts';
import { Slab } from '../io/slab.ts';
import { FAILED, type TcpStream, WOULD_BLOCK } from '../io/tcp-stream.ts';
import type { Timer } from '../runtime/clock.ts';
import { maxStreamWindow, tunnelSettings } from './tunnel-settings.ts';

export type SpliceEnd =
  | 'finished' // both directions ended in order
  | 'app-reset' // the application broke its connection
  | 'tunnel-reset' // the other side reset the stream, or the tunnel was lost
  | 'idle' // no byte for the idle time
  | 'overload' // the worker's buffer budget is spent
  | 'closed'; // close() was called

export interface SpliceOptions {
  readonly budget: BufferBudget;
  /** ms without a byte either way; 0 never. */
  readonly idleTimeoutMs: number;
  /** ms without a byte once one direction has ended. */
  readonly halfClosedTimeoutMs: number;
  /** Called once, after both sides were dealt with. */
  readonly onEnd: (end: SpliceEnd) => void;
}

/** Room for the DATA frame header in front of what was read (RFC 9113 section 4.1). */
const headRoom = 9;
const chunkBytes = 256 * 1024;
const roundsPerTurn = 4;
/** The window grows by as much as it starts with. */
const windowStep = tunnelSettings.initialWindowSize;
const chunk = new Slab(headRoom + chunkBytes);

export class TunnelSplice implements IoHandler, StreamHandler {
  /** Bytes read from the application and written to the tunnel. */
  fromApp = 0;
  /** Bytes read from the tunnel for the application. */
  toApp = 0;
  #reactor: Reactor;
  #tcp: TcpStream;
  #session: H2Session;
  #stream: H2Stream;
  #options: SpliceOptions;
  #queue: ByteQueue;
  #readable = false;
  /** The end was announced: it is to be found by reading until there is nothing. */
  #thorough = false;
  /** Nothing is read now, so that no read would find a reset. */
  #stalled = false;
  /** Bytes to the application after which its window grows again, if it kept up so far. */
  #growAt = windowStep;
  #appEnded = false;
  #tunnelEnded = false;
  #finSent = false;
  #ended = false;
  #timer: Timer | undefined;
  #lastTotal = 0;

  constructor(
    reactor: Reactor,
    tcp: TcpStream,
    tunnel: { session: H2Session; stream: H2Stream },
    options: SpliceOptions,
  ) {
    this.#reactor = reactor;
    this.#tcp = tcp;
    this.#session = tunnel.session;
    this.#stream = tunnel.stream;
    this.#options = options;
    this.#queue = new ByteQueue(options.budget);
    this.#watchIdle(options.idleTimeoutMs);
    tcp.watch(reactor, this);
  }

  /** Bytes waiting for a slow application. */
  get buffered(): number {
    return this.#queue.size;
  }

  onReady(events: number): void {
    if (this.#ended) return;
    if ((events & WRITABLE) !== 0 && this.#queue.size > 0) this.#drain();
    if ((events & READABLE) !== 0) this.#readable = true;
    if ((events & ENDED) !== 0) this.#thorough = true;
    if (this.#readable) this.#pump();
    if (this.#ended || !this.#stalled || (events & BROKEN) === 0) return;
    if (this.#tcp.wasReset()) this.#appBroke();
  }

  onWritable(): void {
    if (!this.#ended && this.#readable) this.#pump();
  }

  onData(slab: Slab, offset: number, length: number): void {
    if (this.#ended) return;
    this.toApp += length;
    let taken = 0;
    if (this.#queue.size === 0) {
      taken = this.#tcp.write(slab, offset, length);
      if (taken === FAILED) return this.#appBroke();
    }
    if (taken < length && !this.#queue.push(slab, offset + taken, length - taken)) return this.#overload();
    if (taken > 0) this.#stream.consume(taken);
    if (taken === length && this.toApp >= this.#growAt) this.#growWindow();
  }

  onEnd(): void {
    if (this.#ended) return;
    this.#tunnelEnded = true;
    this.#finish();
  }

  onReset(code: number): void {
    if (this.#ended) return;
    // NO_ERROR reads as an orderly end, as in Istio; nothing else may look like one to the application.
    const orderly = code === ErrorCode.NO_ERROR && this.#queue.size === 0;
    this.#end('tunnel-reset', orderly ? 'close' : 'reset');
  }

  /** Ends both sides at once: the application sees a reset, the tunnel `code` (default CANCEL). Idempotent. */
  close(code: number = ErrorCode.CANCEL): void {
    if (this.#ended) return;
    this.#stream.reset(code);
    this.#session.flush();
    this.#end('closed', 'reset');
  }

  // An application that takes what comes may have more under way: on a busy machine the way there and back takes
  // milliseconds, and a window of one step would bound the rate. A slow one never gets more than it started with.
  #growWindow(): void {
    if (this.#growAt === maxStreamWindow) {
      this.#growAt = Number.POSITIVE_INFINITY;
      return;
    }
    this.#growAt += windowStep;
    this.#stream.grow(windowStep);
  }

  #pump(): void {
    for (let round = 0; round < roundsPerTurn; round++) {
      const allowance = this.#appEnded ? 0 : this.#stream.sendAllowance();
      this.#stalled = allowance === 0;
      if (this.#stalled) return this.#session.flush();
      const wanted = allowance < chunkBytes ? allowance : chunkBytes;
      const count = this.#tcp.read(chunk, headRoom, wanted);
      if (count > 0) {
        this.fromApp += count;
        this.#stream.writeData(chunk, headRoom, count, false);
        if (this.#ended) return;
        // A short read empties the kernel's queue; what comes later brings a new edge (epoll(7)).
        if (count < wanted && !this.#thorough) {
          this.#readable = false;
          return this.#session.flush();
        }
        continue;
      }
      if (count === 0) {
        this.#appEnded = true;
        this.#stream.endData();
        this.#session.flush();
        return this.#finish();
      }
      if (count === WOULD_BLOCK) {
        this.#readable = false;
        return this.#session.flush();
      }
      return this.#appBroke();
    }
    this.#session.flush();
    this.#reactor.defer(this);
  }

  #drain(): void {
    const written = this.#queue.drainTo(this.#tcp);
    if (written === FAILED) return this.#appBroke();
    if (written > 0) {
      this.#stream.consume(written);
      this.#session.flush();
    }
    this.#finish();
  }

  #finish(): void {
    if (this.#tunnelEnded && !this.#finSent && this.#queue.size === 0) {
      this.#finSent = true;
      if (!this.#appEnded) this.#tcp.shutdownWrite();
    }
    if (this.#appEnded && this.#finSent) return this.#end('finished', 'close');
    if (this.#appEnded || this.#tunnelEnded) this.#watchIdle(this.#options.halfClosedTimeoutMs);
  }

  #appBroke(): void {
    this.#stream.reset(ErrorCode.CONNECT_ERROR);
    this.#session.flush();
    this.#end('app-reset', 'close');
  }

  #overload(): void {
    this.#stream.reset(ErrorCode.ENHANCE_YOUR_CALM);
    this.#session.flush();
    this.#end('overload', 'reset');
  }

  #end(end: SpliceEnd, how: 'close' | 'reset'): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#queue.clear();
    this.#reactor.forget(this.#tcp.fd);
    if (how === 'reset') this.#tcp.reset();
    else this.#tcp.close();
    this.#options.onEnd(end);
  }

  // The timer is not moved for every chunk: when it fires it looks whether bytes moved since it was set.
  #watchIdle(timeoutMs: number): void {
    this.#timer?.cancel();
    if (timeoutMs === 0) return;
    this.#lastTotal = this.fromApp + this.toApp - this.#queue.size;
    this.#timer = this.#reactor.after(timeoutMs, () => {
      if (this.#ended) return;
      if (this.fromApp + this.toApp - this.#queue.size !== this.#lastTotal) return this.#watchIdle(timeoutMs);
      this.#stream.reset(ErrorCode.CANCEL);
      this.#session.flush();
      this.#end('idle', 'reset');
    });
  }
}
