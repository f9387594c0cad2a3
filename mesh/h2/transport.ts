// What an HTTP/2 session needs from the connection below it, and what it offers to the connection.
// The session does no I/O of its own: a TLS connection, a plain socket or a test drives it.

import type { Slab } from '../io/slab.ts';

/** The way out. Writes never block and never fail halfway: what `room()` allowed is taken whole. */
export interface H2Transport {
  /** Bytes that can be written now without buffering beyond the transport's bound. */
  room(): number;
  /** Takes `length` bytes at `offset` before returning (copied or encrypted), at most `room()` of them. */
  write(slab: Slab, offset: number, length: number): void;
  /** Sends what was written so far; called once per batch of frames, so that small frames share a record. */
  flush(): void;
  /** Closes after what was written is sent. Idempotent. */
  end(): void;
  /** Drops the connection at once. Idempotent. */
  destroy(): void;
}
