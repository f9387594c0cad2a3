// A connected TCP socket on the loop as transport of an HTTP connection. Reads into one slab a thread, only while the
// sink wants bytes. Small writes gather until the end of the turn and leave in one send; large ones go to the kernel from
// where they lie. What the kernel does not take waits in a bounded queue. States: open -> ending -> closed.

import type { ByteSink, ByteTransport } from '../http/byte-transport.ts';
import type { Timer } from '../runtime/clock.ts';
import { type BufferBudget, ByteQueue } from './byte-queue.ts';
import * as libc from './libc.ts';
import { BROKEN, ENDED, type IoHandler, READABLE, type Reactor, type TurnTask, WRITABLE } from './reactor.ts';
import { HEAD_ROOM, Slab } from './slab.ts';
import type { DialledSocket } from './tcp-dial.ts';
import { FAILED, TcpStream, WOULD_BLOCK } from './tcp-stream.ts';

export interface TcpTransportOptions {
  /** For what the peer is slow to take; when it is spent the connection is dropped. */
  readonly budget: BufferBudget;
}

/** Bytes that may wait for the kernel; `room()` counts down from it. */
const queueBytes = 256 * 1024;
/** Less room than this counts as none: better to wait for the kernel than to send scraps. */
const shortRoom = 16 * 1024;
/** From here on copying costs more than a system call. */
const directBytes = 16 * 1024;
const readBytes = 128 * 1024;
const roundsPerTurn = 4;
/** After our end the peer has this long to read what was sent and to close; what it sends is thrown away. */
const lingerMs = 2_000;
/** As long as it takes something of what still waits, it may go on taking. */
const stuckMs = 10_000;

// Read, delivered and done with in one go: all connections of the thread share it.
const slab = new Slab(HEAD_ROOM + readBytes);

export class TcpTransport implements ByteTransport, IoHandler, TurnTask {
  readonly #reactor: Reactor;
  readonly #tcp: TcpStream;
  readonly #queue: ByteQueue;
  #sink: ByteSink | undefined;
  #watched = false;
  #state: 'open' | 'ending' | 'closed' = 'open';
  #paused = false;
  /** The kernel may have bytes: no read has found it empty since the last edge. */
  #readable = false;
  /** The end was announced: it is to be found by reading until there is nothing. */
  #thorough = false;
  #readEnded = false;
  /** The own direction: open, ends when the queue is empty, FIN sent. */
  #write: 'open' | 'ending' | 'ended' = 'open';
  /** Somebody found too little room; told when the queue is empty again. */
  #starved = false;
  /** The kernel did not take all; an edge will say when it does. */
  #blocked = false;
  #armed = false;
  /** Why the connection is lost, until the loop tells the sink. */
  #failure: string | undefined;
  #timer: Timer | undefined;
  #again: IoHandler | undefined;

  /** Takes ownership of a connected, non-blocking socket: accepted (a plain number) or dialled. */
  constructor(reactor: Reactor, socket: number | DialledSocket, options: TcpTransportOptions) {
    this.#reactor = reactor;
    this.#tcp = new TcpStream(socket);
    this.#queue = new ByteQueue(options.budget);
  }

  get fd(): number {
    return this.#tcp.fd;
  }

  /** Bytes the kernel has not taken. */
  get buffered(): number {
    return this.#queue.size;
  }

  attach(sink: ByteSink): void {
    this.#sink = sink;
    if (this.#watched || this.#state === 'closed') return;
    this.#watched = true;
    this.#tcp.watch(this.#reactor, this);
  }

  onReady(events: number): void {
    if (this.#state === 'closed') return;
    if ((events & READABLE) !== 0) this.#readable = true;
    if ((events & ENDED) !== 0) this.#thorough = true;
    if ((events & WRITABLE) !== 0 && this.#blocked) this.#onWritable();
    if (this.#paused) {
      // Nothing is read, so no read would find a reset.
      if ((events & BROKEN) !== 0 && this.#tcp.wasReset()) this.#fail(this.#tcp.error);
      return;
    }
    this.#read();
  }

  pause(): void {
    if (this.#state === 'open') this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#readable) this.#readAgain();
  }

  room(): number {
    if (this.#write !== 'open') return 0;
    const room = queueBytes - this.#queue.size;
    if (room >= shortRoom) return room;
    this.#starved = true;
    return 0;
  }

  write(from: Slab, offset: number, length: number): void {
    if (this.#write !== 'open') return;
    let taken = 0;
    // With the budget spent what the kernel takes at once still passes: one slow peer must not end the others.
    const direct = length >= directBytes || !this.#queue.fits(length);
    if (direct && !this.#blocked && this.#send()) {
      taken = this.#tcp.write(from, offset, length);
      if (taken === FAILED) return this.#fail(this.#tcp.error);
      this.#blocked = taken < length;
    }
    if (taken === length || this.#failure !== undefined) return;
    if (!this.#queue.push(from, offset + taken, length - taken))
      return this.#lost('the buffer budget is spent');
    if (!this.#blocked) this.#arm();
  }

  /** Only somebody who waits for room gains by sending before the end of the turn. */
  flush(): void {
    if (this.#starved && !this.#blocked && this.#send()) this.#starved = false;
  }

  onTurnEnd(): void {
    this.#armed = false;
    if (this.#state === 'closed') return;
    if (this.#failure !== undefined) return this.#close(this.#failure, 'reset');
    if (!this.#blocked && this.#queue.size > 0 && this.#send() && this.#starved) this.#tellWritable();
    if (this.#failure === undefined && this.#write === 'ended' && this.#readEnded)
      this.#close(undefined, 'close');
  }

  endWrite(): void {
    if (this.#write !== 'open') return;
    this.#write = 'ending';
    if (!this.#blocked) this.#arm();
    this.#finishWrite();
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#paused = false;
    if (this.#readable) this.#readAgain();
    this.#watchEnd();
    this.endWrite();
    this.#finishWrite();
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#sink = undefined;
    // What was written in this turn too: who is cut off is to know as much of the answer as there was.
    if (!this.#blocked) this.#send();
    this.#close(undefined, 'reset');
  }

  #read(): void {
    for (let round = 0; this.#readable && !this.#paused && this.#state !== 'closed'; round++) {
      if (round === roundsPerTurn) return this.#readAgain();
      const count = this.#tcp.read(slab, HEAD_ROOM, readBytes);
      // A short read empties the kernel's queue; what comes later brings a new edge (epoll(7)).
      if (count === WOULD_BLOCK || (count < readBytes && !this.#thorough)) this.#readable = false;
      if (count > 0) {
        if (this.#state === 'open') this.#sink?.receive(slab, HEAD_ROOM, count);
      } else if (count === 0) {
        this.#peerEnded();
      } else if (count === FAILED) {
        this.#close(describeBroken(this.#tcp.error), 'close');
      }
    }
  }

  /** Goes on in the next turn, without the bits of an event that was none. */
  #readAgain(): void {
    this.#again ??= { onReady: () => this.#read() };
    this.#reactor.defer(this.#again);
  }

  #peerEnded(): void {
    this.#readable = false;
    if (this.#readEnded) return;
    this.#readEnded = true;
    if (this.#state === 'open') this.#sink?.ended();
    if (this.#state !== 'closed' && this.#write === 'ended') this.#close(undefined, 'close');
  }

  #onWritable(): void {
    this.#blocked = false;
    if (!this.#send()) return;
    if (this.#starved) this.#tellWritable();
  }

  #tellWritable(): void {
    this.#starved = false;
    if (this.#state === 'open') this.#sink?.onTransportWritable();
  }

  /** True when nothing waits any more. */
  #send(): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#queue.size > 0) {
      if (this.#queue.drainTo(this.#tcp) === FAILED) {
        this.#fail(this.#tcp.error);
        return false;
      }
      if (this.#queue.size > 0) {
        this.#blocked = true;
        return false;
      }
    }
    this.#finishWrite();
    return true;
  }

  /** FIN once everything was sent. */
  #finishWrite(): void {
    if (this.#write !== 'ending' || this.#queue.size > 0 || this.#failure !== undefined) return;
    this.#write = 'ended';
    this.#tcp.shutdownWrite();
    if (this.#readEnded) this.#arm();
    else if (this.#state === 'ending') this.#watchEnd();
  }

  /** Bounds the end: a peer that takes nothing, and one that never closes. */
  #watchEnd(): void {
    this.#timer?.cancel();
    const before = this.#queue.size;
    const finished = this.#write === 'ended';
    this.#timer = this.#reactor.after(finished ? lingerMs : stuckMs, () => {
      if (finished) this.#close(undefined, 'close');
      else if (this.#queue.size === before) this.#close('the peer takes nothing', 'reset');
      else this.#watchEnd();
    });
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#reactor.atTurnEnd(this);
  }

  #fail(errno: number): void {
    this.#lost(describeBroken(errno));
  }

  /** The sink is told by the loop: it may be the one who is writing now. */
  #lost(reason: string): void {
    this.#failure ??= reason;
    this.#write = 'ended';
    this.#queue.clear();
    this.#arm();
  }

  #close(reason: string | undefined, how: 'close' | 'reset'): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#write = 'ended';
    this.#readable = false;
    this.#timer?.cancel();
    this.#queue.clear();
    if (this.#watched) this.#reactor.forget(this.#tcp.fd);
    if (how === 'reset') this.#tcp.reset();
    else this.#tcp.close();
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.closed(reason);
  }
}

function describeBroken(errno: number): string {
  return `connection broke: ${libc.describeErrno(errno)}`;
}
