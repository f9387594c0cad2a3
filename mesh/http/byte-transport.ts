// What an HTTP connection runs on: bytes out by H2Transport, bytes in by a sink, and a way to stop reading, which
// HTTP/1.1 needs because it has no flow control of its own. A plain socket and a stream of a tunnel both offer it.

import type { Slab } from '../io/slab.ts';
import type { H2Transport } from '../h2/transport.ts';

/** What was written leaves at the end of the loop's turn at the latest; `flush` only makes room or saves the wait. */
export interface ByteTransport extends H2Transport {
  /**
   * What runs on the connection from now on. Nothing arrives before the first call; a later one hands the connection
   * over, and whoever had it passes on what it received and did not use.
   */
  attach(sink: ByteSink): void;
  /** Nothing is read, and so delivered, until `resume`; what was delivered counts as taken. Idempotent. */
  pause(): void;
  resume(): void;
  /** Ends the own direction after what was written is sent; reading goes on. Idempotent. */
  endWrite(): void;
}

/** Called from the loop, never from inside a call of the transport. */
export interface ByteSink {
  /**
   * Bytes are valid only during the call. `offset` is HEAD_ROOM or more, and the octets before it may be overwritten,
   * as `H2Stream.writeData` does.
   */
  receive(slab: Slab, offset: number, length: number): void;
  /** The peer sends nothing more; the own direction stays open. */
  ended(): void;
  /** There is room again after `room()` had been short. */
  onTransportWritable(): void;
  /** The connection is gone; `reason` is undefined after an orderly end of both directions. Once, also after `end`; not after `destroy`. */
  closed(reason: string | undefined): void;
}
