// The state of one stream inside its session (RFC 9113 section 5.1) behind the H2Stream its owner sees.
// Holds numbers only; windows, scheduling and frames are the business of StreamSet.

import type { Slab } from '../io/slab.ts';
import type { Header } from './header.ts';
import type { H2Stream, StreamHandler } from './stream.ts';

/** What a stream asks of its session. */
export interface StreamPort {
  allowance(stream: SessionStream): number;
  sendData(stream: SessionStream, slab: Slab, offset: number, length: number, endStream: boolean): void;
  sendHeaders(stream: SessionStream, headers: readonly Header[], endStream: boolean): void;
  endData(stream: SessionStream): void;
  consume(stream: SessionStream, bytes: number): void;
  grow(stream: SessionStream, bytes: number): void;
  reset(stream: SessionStream, code: number): void;
}

/** One direction of a stream: before its (final) headers, between them and END_STREAM, after it. */
export const IDLE = 0;
export const OPEN = 1;
export const ENDED = 2;

/** Why a stream waits: not at all, for its own window, for its turn on the connection. */
export const NOT_WAITING = 0;
export const WAITING_WINDOW = 1;
export const WAITING_TURN = 2;

export class SessionStream implements H2Stream {
  readonly id: number;
  user: unknown = undefined;
  handler: StreamHandler;

  local = IDLE;
  remote = IDLE;
  /** Reset, or ended both ways: no frame and no callback any more. */
  gone = false;
  /** Why the stream is gone, if not by its owner's doing; -1 otherwise. */
  lostCode = -1;
  /** Server: final headers were sent. */
  answered = false;
  /** Client: the request's method, which decides whether a response's content-length counts. */
  bodiless = false;

  /** Octets the peer lets us send; negative after it lowered INITIAL_WINDOW_SIZE. */
  sendWindow: number;
  /** Octets the peer may still send. */
  receiveWindow: number;
  /** Received and not yet consumed by the owner. */
  unconsumed = 0;
  /** Consumed and not yet returned by WINDOW_UPDATE. */
  pendingCredit = 0;
  /** DATA octets the content-length still promises, -1 if there is none. */
  bodyLeft = -1;

  /** Place in the scheduler's list. */
  waiting = NOT_WAITING;
  previous: SessionStream | undefined = undefined;
  next: SessionStream | undefined = undefined;

  readonly #port: StreamPort;

  constructor(
    port: StreamPort,
    handler: StreamHandler,
    options: { readonly id: number; readonly sendWindow: number; readonly receiveWindow: number },
  ) {
    this.#port = port;
    this.handler = handler;
    this.id = options.id;
    this.sendWindow = options.sendWindow;
    this.receiveWindow = options.receiveWindow;
  }

  sendAllowance(): number {
    return this.#port.allowance(this);
  }

  writeData(slab: Slab, offset: number, length: number, endStream: boolean): void {
    this.#port.sendData(this, slab, offset, length, endStream);
  }

  endData(): void {
    this.#port.endData(this);
  }

  respond(headers: readonly Header[], endStream: boolean): void {
    this.#port.sendHeaders(this, headers, endStream);
  }

  trailers(headers: readonly Header[]): void {
    this.#port.sendHeaders(this, headers, true);
  }

  consume(bytes: number): void {
    this.#port.consume(this, bytes);
  }

  grow(bytes: number): void {
    this.#port.grow(this, bytes);
  }

  reset(code: number): void {
    this.#port.reset(this, code);
  }
}
