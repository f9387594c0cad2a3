// What an HTTP connection runs on: bytes out by H2Transport, bytes in by a sink, and a way to stop reading, which
// HTTP/1.1 needs because it has no flow control of its own. A plain socket and a stream of a tunnel both offer it.

import type { Slab } from '../io/slab.ts';
import type { H2Transport } from '../h2/transport.ts';

/** What was written leaves at the end of the loop's turn at the latest; `flush` only makes room or saves the wait. */
export interface ByteTransport extends H2Transport {
  /** What runs on the connection; given once, before anything arrives. */
  attach(sink: ByteSink): void;
  /** Nothing is read, and so delivered, until `resume`; what was delivered counts as taken. Idempotent. */
  pause(): void;
  resume(): void;
  /** Ends the own direction after what was written is sent; reading goes on. Idempotent. */
  endWrite(): void;
}

/** Called from the loop, never from inside a call of the transport, save for `closed` from a failing flush. */
export interface ByteSink {
  /**
   * Bytes are valid only during the call. The sink may overwrite the octets before them in the slab, as
   * `H2Stream.writeData` does.
   */
  receive(slab: Slab, offset: number, length: number): void;
  /** The peer sends nothing more; the own direction stays open. */
  ended(): void;
  /** There is room again after `room()` had been short. */
  onTransportWritable(): void;
  /** The connection is gone; `reason` is undefined after an orderly end of both directions. Once; not after `destroy`. */
  closed(reason: string | undefined): void;
}
