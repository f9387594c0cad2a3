// A stream of a tunnel as transport of the HTTP connection inside it, on either end of the tunnel. Writes gather until
// the end of the turn, so that small ones share a frame and a record; large ones go out from where they lie. What finds
// no window waits in a bounded queue, and so does what arrives while the connection is paused: no more than the stream's
// window, since nothing is given back for it.

import type { ByteSink, ByteTransport } from '../http/byte-transport.ts';
import { ErrorCode, errorName } from '../h2/error.ts';
import type { H2Session } from '../h2/session.ts';
import type { H2Stream, StreamHandler } from '../h2/stream.ts';
import { type BufferBudget, ByteQueue, type ByteWriter } from '../io/byte-queue.ts';
import type { Reactor, TurnTask } from '../io/reactor.ts';
import { HEAD_ROOM, Slab } from '../io/slab.ts';
import type { Timer } from '../runtime/clock.ts';
import { maxStreamWindow, tunnelSettings } from './tunnel-settings.ts';

export interface StreamTransportOptions {
  readonly stream: H2Stream;
  readonly session: H2Session;
  /** For what either side is slow to take; when it is spent the stream is reset. */
  readonly budget: BufferBudget;
}

/** Bytes that may wait for the stream's window; `room()` counts down from it. */
const queueBytes = 256 * 1024;
/** Less room than this counts as none. */
const shortRoom = 16 * 1024;
/** From here on a frame of its own costs less than copying. */
const directBytes = 16 * 1024;
const frameHeaderBytes = 9;
/** After our end the peer has this long to end its direction. */
const lingerMs = 2_000;
/** As long as the peer takes something of what still waits, it may go on taking. */
const stuckMs = 10_000;
const windowStep = tunnelSettings.initialWindowSize;

/** For small writes without head room, when they can not be queued. */
const scratch = new Slab(HEAD_ROOM + directBytes);
const saved = Buffer.allocUnsafeSlow(frameHeaderBytes);

export class StreamTransport implements ByteTransport, StreamHandler, TurnTask {
  readonly #reactor: Reactor;
  readonly #stream: H2Stream;
  readonly #session: H2Session;
  readonly #outgoing: ByteQueue;
  readonly #incoming: ByteQueue;
  readonly #toStream: ByteWriter;
  readonly #toSink: ByteWriter;
  #sink: ByteSink | undefined;
  #state: 'open' | 'ending' | 'closed' = 'open';
  #paused = false;
  #peer: 'open' | 'ended' | 'told' = 'open';
  /** The own direction: open, ends when the queue is empty, END_STREAM sent. */
  #write: 'open' | 'ending' | 'ended' = 'open';
  /** Somebody found too little room; told when the queue is empty again. */
  #starved = false;
  /** The stream has no window; onWritable will come. */
  #blocked = false;
  #armed = false;
  /** Why the connection is lost, until the loop tells the sink. */
  #failure: string | undefined;
  #received = 0;
  /** Bytes received after which the window grows again; never for a connection that was paused. */
  #growAt = windowStep;
  #timer: Timer | undefined;

  /** Give it to the tunnel as the stream's handler. The stream's own direction must have begun (200 sent or received). */
  constructor(reactor: Reactor, options: StreamTransportOptions) {
    this.#reactor = reactor;
    this.#stream = options.stream;
    this.#session = options.session;
    this.#outgoing = new ByteQueue(options.budget);
    this.#incoming = new ByteQueue(options.budget);
    this.#toStream = { write: (slab, offset, length) => this.#writeFrames(slab, offset, length) };
    this.#toSink = { write: (slab, offset, length) => this.#deliver(slab, offset, length) };
  }

  /** Bytes that wait, both ways. */
  get buffered(): number {
    return this.#outgoing.size + this.#incoming.size;
  }

  // ByteTransport

  attach(sink: ByteSink): void {
    this.#sink = sink;
    if (this.#incoming.size > 0 || this.#peer === 'ended' || this.#failure !== undefined) this.#arm();
  }

  pause(): void {
    if (this.#state !== 'open') return;
    this.#paused = true;
    this.#growAt = Number.POSITIVE_INFINITY;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#incoming.size > 0 || this.#peer === 'ended') this.#arm();
  }

  room(): number {
    if (this.#write !== 'open') return 0;
    const room = queueBytes - this.#outgoing.size;
    if (room >= shortRoom) return room;
    this.#starved = true;
    return 0;
  }

  write(slab: Slab, offset: number, length: number): void {
    if (this.#write !== 'open') return;
    // With the budget spent what the stream takes at once still passes: one slow peer must not end the others.
    const direct = (length >= directBytes && offset >= frameHeaderBytes) || !this.#outgoing.fits(length);
    const taken = direct && this.#send() ? this.#writeNow(slab, offset, length) : 0;
    if (taken < length && !this.#outgoing.push(slab, offset + taken, length - taken)) {
      return this.#overload();
    }
    this.#arm();
  }

  flush(): void {
    if (this.#starved && !this.#blocked && this.#send()) this.#starved = false;
  }

  endWrite(): void {
    if (this.#write !== 'open') return;
    this.#write = 'ending';
    this.#arm();
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#paused = false;
    this.endWrite();
    this.#watchEnd();
    this.#dropIncoming();
    this.#arm();
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#sink = undefined;
    this.#stream.reset(ErrorCode.CANCEL);
    this.#session.flush();
    this.#close(undefined);
  }

  // TurnTask

  onTurnEnd(): void {
    this.#armed = false;
    if (this.#state === 'closed') return;
    if (this.#failure !== undefined) return this.#close(this.#failure);
    if (this.#send() && this.#starved) this.#tellWritable();
    this.#deliverWaiting();
    this.#finishIfEnded();
    // Frames of data, and credit for what was delivered.
    this.#session.flush();
  }

  // StreamHandler

  onData(slab: Slab, offset: number, length: number): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'ending') return this.#stream.consume(length);
    if (this.#sink === undefined || this.#paused || this.#incoming.size > 0) {
      if (!this.#incoming.push(slab, offset, length)) this.#overload();
      return;
    }
    this.#deliver(slab, offset, length);
  }

  onEnd(): void {
    if (this.#peer !== 'open') return;
    this.#peer = 'ended';
    this.#deliverWaiting();
    this.#finishIfEnded();
  }

  onReset(code: number): void {
    if (this.#state === 'closed') return;
    // NO_ERROR reads as an orderly end, as in Istio, but only of a peer that had nothing more to say.
    const orderly = code === ErrorCode.NO_ERROR && this.#outgoing.size === 0 && this.#incoming.size === 0;
    if (orderly) this.onEnd();
    this.#close(orderly ? undefined : `the tunnel reset the stream: ${errorName(code)}`);
  }

  onWritable(): void {
    this.#blocked = false;
    if (this.#send() && this.#starved) this.#tellWritable();
    this.#finishIfEnded();
  }

  // Sending

  /** True when nothing waits any more. */
  #send(): boolean {
    if (this.#blocked || this.#failure !== undefined) return false;
    if (this.#outgoing.size > 0) this.#outgoing.drainTo(this.#toStream);
    if (this.#outgoing.size > 0) return false;
    if (this.#write === 'ending') {
      this.#write = 'ended';
      this.#stream.endData();
      this.#session.flush();
      if (this.#state === 'ending') this.#watchEnd();
    }
    return true;
  }

  #writeNow(slab: Slab, offset: number, length: number): number {
    if (offset >= frameHeaderBytes) return this.#writeFrames(slab, offset, length);
    const count = Math.min(length, directBytes);
    slab.bytes.copy(scratch.bytes, HEAD_ROOM, offset, offset + count);
    return this.#writeFrames(scratch, HEAD_ROOM, count);
  }

  /** The header of a frame borrows the octets before it, which may be the caller's. */
  #writeFrames(slab: Slab, offset: number, length: number): number {
    let taken = 0;
    while (taken < length) {
      const allowance = this.#stream.sendAllowance();
      if (allowance === 0) {
        this.#blocked = true;
        return taken;
      }
      const count = Math.min(allowance, length - taken);
      const at = offset + taken;
      slab.bytes.copy(saved, 0, at - frameHeaderBytes, at);
      this.#stream.writeData(slab, at, count, false);
      saved.copy(slab.bytes, at - frameHeaderBytes);
      taken += count;
    }
    return taken;
  }

  #tellWritable(): void {
    this.#starved = false;
    if (this.#state === 'open') this.#sink?.onTransportWritable();
  }

  // Receiving

  #deliver(slab: Slab, offset: number, length: number): number {
    if (this.#paused || this.#sink === undefined) return 0;
    this.#received += length;
    this.#stream.consume(length);
    if (this.#received >= this.#growAt) this.#growWindow();
    this.#sink.receive(slab, offset, length);
    return length;
  }

  // As a splice does: who keeps up gets more under way (see splice.ts).
  #growWindow(): void {
    if (this.#growAt >= maxStreamWindow) {
      this.#growAt = Number.POSITIVE_INFINITY;
      return;
    }
    this.#growAt += windowStep;
    this.#stream.grow(windowStep);
  }

  #deliverWaiting(): void {
    if (this.#incoming.size > 0 && this.#state === 'open') this.#incoming.drainTo(this.#toSink);
    if (this.#peer !== 'ended' || this.#incoming.size > 0 || this.#paused || this.#sink === undefined) return;
    this.#peer = 'told';
    if (this.#state === 'open') this.#sink.ended();
  }

  #dropIncoming(): void {
    this.#stream.consume(this.#incoming.size);
    this.#incoming.clear();
  }

  // Ends

  #finishIfEnded(): void {
    if (this.#state !== 'closed' && this.#peer === 'told' && this.#write === 'ended') this.#close(undefined);
  }

  #overload(): void {
    this.#failure ??= 'the buffer budget is spent';
    this.#write = 'ended';
    this.#stream.reset(ErrorCode.ENHANCE_YOUR_CALM);
    this.#arm();
  }

  /** Bounds the end: a peer that takes nothing, and one that never ends. */
  #watchEnd(): void {
    this.#timer?.cancel();
    const before = this.#outgoing.size;
    const finished = this.#write === 'ended';
    this.#timer = this.#reactor.after(finished ? lingerMs : stuckMs, () => {
      if (!finished && this.#outgoing.size !== before) return this.#watchEnd();
      this.#stream.reset(finished ? ErrorCode.NO_ERROR : ErrorCode.CANCEL);
      this.#session.flush();
      this.#close(finished ? undefined : 'the peer takes nothing');
    });
  }

  #arm(): void {
    if (this.#armed || this.#state === 'closed') return;
    this.#armed = true;
    this.#reactor.atTurnEnd(this);
  }

  #close(reason: string | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#write = 'ended';
    this.#timer?.cancel();
    this.#outgoing.clear();
    this.#incoming.clear();
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.closed(reason);
  }
}
