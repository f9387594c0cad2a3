// Decides which stream may send how much DATA: stream windows, the connection window, the transport's room, and whose turn it is.
// Invariant: a stream that was told 0 is either WAITING_WINDOW, or in the list of those waiting for their turn, oldest first.

import { DEFAULT_WINDOW, MIN_MAX_FRAME_SIZE } from './frame.ts';
import { NOT_WAITING, OPEN, type SessionStream, WAITING_TURN, WAITING_WINDOW } from './session-stream.ts';
import type { FrameWriter } from './session-writer.ts';

/** What one stream may send in its turn while others wait: large enough to amortise the switch, small enough to be fair. */
const TURN_BYTES = 65_536;

export class SendScheduler {
  readonly #writer: FrameWriter;
  /** The connection window (RFC 9113 section 6.9). */
  window = DEFAULT_WINDOW;
  maxFrameSize = MIN_MAX_FRAME_SIZE;

  #head: SessionStream | undefined = undefined;
  #tail: SessionStream | undefined = undefined;
  #turn: SessionStream | undefined = undefined;
  #turnLeft = 0;

  constructor(writer: FrameWriter) {
    this.#writer = writer;
  }

  /** See H2Stream.sendAllowance. */
  allowance(stream: SessionStream): number {
    if (stream.local !== OPEN || stream.gone) return 0;
    if (stream.sendWindow <= 0) {
      this.#wait(stream, WAITING_WINDOW);
      return 0;
    }
    const head = this.#head;
    if (head !== undefined && head !== stream && this.#turn !== stream) {
      this.#wait(stream, WAITING_TURN);
      return 0;
    }
    let allowed = Math.min(stream.sendWindow, this.window, this.maxFrameSize);
    if (this.#turn === stream && head !== undefined && this.#turnLeft < allowed) allowed = this.#turnLeft;
    if (allowed > 0) {
      const room = this.#room();
      if (room < allowed) allowed = room;
    }
    if (allowed <= 0) {
      this.#wait(stream, WAITING_TURN);
      return 0;
    }
    this.remove(stream);
    return stream.gone ? 0 : allowed;
  }

  /** Books a DATA frame of `length` octets. */
  sent(stream: SessionStream, length: number): void {
    stream.sendWindow -= length;
    this.window -= length;
    if (this.#turn === stream) this.#turnLeft -= length;
  }

  /** The stream's own window grew: it queues up for its turn if it waited for that. */
  windowOpened(stream: SessionStream): void {
    if (stream.waiting === WAITING_WINDOW && stream.sendWindow > 0) this.#wait(stream, WAITING_TURN);
  }

  /** Takes the stream off whatever it waits for. */
  remove(stream: SessionStream): void {
    if (stream.waiting === WAITING_TURN) {
      if (stream.previous === undefined) this.#head = stream.next;
      else stream.previous.next = stream.next;
      if (stream.next === undefined) this.#tail = stream.previous;
      else stream.next.previous = stream.previous;
      stream.previous = undefined;
      stream.next = undefined;
    }
    stream.waiting = NOT_WAITING;
  }

  /** Gives waiting streams their turns, round and round, until the connection window or the transport is full. */
  resume(): void {
    if (this.#turn !== undefined) return;
    let stream = this.#head;
    while (stream !== undefined && this.window > 0 && this.#room() > 0) {
      // The flush in #room may have lost the connection, and with it every waiting stream.
      stream = this.#head;
      if (stream === undefined) return;
      this.remove(stream);
      if (stream.sendWindow > 0) this.#takeTurn(stream);
      else this.#wait(stream, WAITING_WINDOW);
      stream = this.#head;
    }
  }

  #takeTurn(stream: SessionStream): void {
    this.#turn = stream;
    this.#turnLeft = TURN_BYTES;
    try {
      stream.handler.onWritable();
    } finally {
      this.#turn = undefined;
    }
  }

  /** A full transport is flushed first: if it is still full then, the kernel's buffer is, and the transport will call back. */
  #room(): number {
    const room = this.#writer.dataRoom();
    return room > 0 ? room : this.#writer.makeRoom();
  }

  #wait(stream: SessionStream, reason: typeof WAITING_WINDOW | typeof WAITING_TURN): void {
    if (stream.gone || stream.waiting === reason) return;
    this.remove(stream);
    stream.waiting = reason;
    if (reason === WAITING_WINDOW) return;
    stream.previous = this.#tail;
    if (this.#tail === undefined) this.#head = stream;
    else this.#tail.next = stream;
    this.#tail = stream;
  }
}
