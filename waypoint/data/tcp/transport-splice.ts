// Joins two byte transports, both directions independently: an end stays an end, a reset a reset, and a slow side stops
// the other by not being read. Owns both from `start` to the end; counts bytes.

import type { ByteSink, ByteTransport } from '../../../mesh/http/byte-transport.ts';
import { type BufferBudget, ByteQueue } from '../../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import type { Slab } from '../../../mesh/io/slab.ts';
import type { Timer } from '../../../mesh/runtime/clock.ts';

export type TransportSpliceEnd =
  | 'finished' // both directions ended in order
  | 'client-broke'
  | 'server-broke'
  | 'idle'
  | 'overload' // the worker's buffer budget is spent
  | 'closed'; // close() was called

export interface TransportSpliceOptions {
  readonly budget: BufferBudget;
  /** ms without a byte either way; 0 never. */
  readonly idleTimeoutMs: number;
  /** ms without a byte once one direction has ended. */
  readonly halfClosedTimeoutMs: number;
  /** Once, after both transports were dealt with. */
  readonly onEnd: (end: TransportSpliceEnd) => void;
}

/** One side: the sink of its transport, the source of what goes to the other. */
class Side implements ByteSink {
  readonly transport: ByteTransport;
  /** Bytes that came from it. */
  bytes = 0;
  readEnded = false;
  closedDown = false;
  other!: Side;
  #splice: TransportSplice;
  /** What the other side has not taken. */
  #queue: ByteQueue;
  #writer: { write(slab: Slab, offset: number, length: number): number };

  constructor(splice: TransportSplice, transport: ByteTransport, budget: BufferBudget) {
    this.#splice = splice;
    this.transport = transport;
    this.#queue = new ByteQueue(budget);
    this.#writer = { write: (slab, offset, length) => this.#send(slab, offset, length) };
  }

  get waiting(): number {
    return this.#queue.size;
  }

  receive(slab: Slab, offset: number, length: number): void {
    this.bytes += length;
    const sent = this.#queue.size === 0 ? this.#send(slab, offset, length) : 0;
    if (sent === length) return;
    this.transport.pause();
    if (!this.#queue.push(slab, offset + sent, length - sent)) this.#splice.end('overload');
  }

  ended(): void {
    this.readEnded = true;
    if (this.#queue.size === 0) this.other.transport.endWrite();
    this.#splice.halfClosed();
  }

  onTransportWritable(): void {
    this.other.drain();
  }

  closed(reason: string | undefined): void {
    this.closedDown = true;
    this.#splice.sideClosed(this, reason);
  }

  /** The other side has room: what waits goes on, then reading does. */
  drain(): void {
    if (this.#queue.size === 0) return;
    this.#queue.drainTo(this.#writer);
    if (this.#queue.size > 0) return;
    if (this.readEnded) this.other.transport.endWrite();
    else this.transport.resume();
  }

  clear(): void {
    this.#queue.clear();
  }

  #send(slab: Slab, offset: number, length: number): number {
    const { transport } = this.other;
    let sent = 0;
    while (sent < length) {
      const count = Math.min(transport.room(), length - sent);
      if (count === 0) break;
      transport.write(slab, offset + sent, count);
      sent += count;
    }
    return sent;
  }
}

export class TransportSplice {
  #reactor: Reactor;
  #options: TransportSpliceOptions;
  #client: Side;
  #server: Side;
  #timer: Timer | undefined;
  #ended = false;
  #movedBefore = 0;

  /** The client's sink: it may be given bytes before the splice starts reading. */
  constructor(
    reactor: Reactor,
    transports: { readonly client: ByteTransport; readonly server: ByteTransport },
    options: TransportSpliceOptions,
  ) {
    this.#reactor = reactor;
    this.#options = options;
    this.#client = new Side(this, transports.client, options.budget);
    this.#server = new Side(this, transports.server, options.budget);
    this.#client.other = this.#server;
    this.#server.other = this.#client;
    this.#watchIdle(options.idleTimeoutMs);
  }

  /** To be attached to the client's transport. */
  get clientSink(): ByteSink {
    return this.#client;
  }

  get serverSink(): ByteSink {
    return this.#server;
  }

  /** The client is not to be read: the server takes nothing now. */
  get clientWaits(): boolean {
    return this.#client.waiting > 0;
  }

  /** Bytes from the client to the server. */
  get fromClient(): number {
    return this.#client.bytes;
  }

  get fromServer(): number {
    return this.#server.bytes;
  }

  /** Both sides see a reset. Idempotent. */
  close(): void {
    this.end('closed');
  }

  halfClosed(): void {
    this.#watchIdle(this.#options.halfClosedTimeoutMs);
  }

  sideClosed(side: Side, reason: string | undefined): void {
    if (this.#ended) return;
    if (reason !== undefined) return this.end(side === this.#client ? 'client-broke' : 'server-broke');
    if (side.other.closedDown) return this.end('finished');
    // Both directions of this side are over in order: so they are, or are about to be, on the other.
    if (side.waiting === 0) side.other.transport.end();
  }

  end(end: TransportSpliceEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    for (const side of [this.#client, this.#server]) {
      side.clear();
      if (!side.closedDown) side.transport.destroy();
    }
    this.#options.onEnd(end);
  }

  // The timer looks whether bytes moved instead of being moved by every byte.
  #watchIdle(timeoutMs: number): void {
    this.#timer?.cancel();
    if (timeoutMs === 0 || this.#ended) return;
    this.#movedBefore = this.#moved();
    this.#timer = this.#reactor.after(timeoutMs, () => {
      if (this.#moved() === this.#movedBefore) this.end('idle');
      else this.#watchIdle(timeoutMs);
    });
  }

  #moved(): number {
    return this.#client.bytes - this.#client.waiting + this.#server.bytes - this.#server.waiting;
  }
}
