// What the owner of an HTTP/2 stream sees of it, and what it must provide.
// Everything is synchronous: calls never call back, except `sendAllowance` and `flush` if the transport fails in them.

import type { Slab } from '../io/slab.ts';
import type { Header } from './header.ts';

/** Called by the session, only from within receive(), onTransportWritable(), close() and transportClosed(). */
export interface StreamHandler {
  /**
   * Response headers, or trailers (always with `endStream`). Informational responses (1xx) arrive here too, before the
   * final one. With `endStream`, `onEnd` follows.
   */
  onHeaders?(headers: readonly Header[], endStream: boolean): void;
  /** Part of a DATA payload, 1 octet or more; valid only during the call. Credit goes back with `consume`. */
  onData(slab: Slab, offset: number, length: number): void;
  /** The peer ended its direction, exactly once, after all data. The own direction stays open. */
  onEnd(): void;
  /**
   * The stream is gone: RST_STREAM from the peer, a mistake of the peer on this stream, GOAWAY that excludes it
   * (REFUSED_STREAM: safe to repeat elsewhere), or the connection was lost (its error, CONNECT_ERROR if it had none). Exactly once; not after
   * both directions ended, nor after an own `reset`. Credit of data not yet consumed returns by itself: drop it, or bound what you keep.
   */
  onReset(code: number): void;
  /** After `sendAllowance` returned 0: the stream may send again. Ask `sendAllowance` anew. */
  onWritable(): void;
}

/** Calls on a stream that is gone do nothing, so that owners need no check of their own. */
export interface H2Stream {
  readonly id: number;
  /** Free for the owner. */
  user: unknown;
  /**
   * DATA payload octets that may be written right now. 0 registers the stream, and `onWritable` comes when it may send
   * (never if the own direction has not begun or is over). May flush the transport to make room.
   */
  sendAllowance(): number;
  /**
   * Sends `length` octets (1 to `sendAllowance()`) at `offset` as one DATA frame. The 9 octets before `offset` are
   * overwritten with the frame header. Throws H2Error INTERNAL_ERROR beyond the windows, before respond() or after the end.
   */
  writeData(slab: Slab, offset: number, length: number, endStream: boolean): void;
  /** Ends the own direction with an empty DATA frame. */
  endData(): void;
  /** Server: response headers; status 1xx without `endStream` may precede the final ones. */
  respond(headers: readonly Header[], endStream: boolean): void;
  /** Ends the own direction with trailers. */
  trailers(headers: readonly Header[]): void;
  /**
   * The owner is done with `bytes` octets of received data: the stream's credit returns to the peer, batched. The
   * connection's credit returned on receipt, so the most a connection can hold is its streams times their window.
   */
  consume(bytes: number): void;
  /** Widens the stream's receive window by `bytes` (1 or more) for good; the sum may not pass 2^31-1 (RFC 9113 section 6.9.1). */
  grow(bytes: number): void;
  /** Ends both directions at once with RST_STREAM; no further callback. `code` as in `ErrorCode`. */
  reset(code: number): void;
}
