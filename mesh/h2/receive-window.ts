// The connection's receive window (RFC 9113 section 6.9): what the peer may still send, and credit on its way back.
// Credit returns when data is received, not when it is consumed: the streams' own windows hold back a slow reader.
// Credit is batched to half a window, so that a WINDOW_UPDATE is rare and the peer never runs dry at full speed.

import { DEFAULT_WINDOW } from './frame.ts';
import type { FrameWriter } from './session-writer.ts';

export class ReceiveWindow {
  readonly #writer: FrameWriter;
  readonly #size: number;
  #left = DEFAULT_WINDOW;
  #pending = 0;

  /** @param size octets; the protocol can not shrink the connection window below its start of 65535. */
  constructor(writer: FrameWriter, size: number) {
    this.#writer = writer;
    this.#size = Math.max(size, DEFAULT_WINDOW);
  }

  /** Opens the window from the protocol's start to its size. */
  open(): void {
    if (this.#size === DEFAULT_WINDOW) return;
    this.#writer.windowUpdate(0, this.#size - DEFAULT_WINDOW);
    this.#left = this.#size;
  }

  /** Books a frame of `length` octets; false if the peer exceeded the window. */
  take(length: number): boolean {
    this.#left -= length;
    return this.#left >= 0;
  }

  giveBack(bytes: number): void {
    this.#pending += bytes;
    if (this.#pending * 2 < this.#size) return;
    this.#writer.windowUpdate(0, this.#pending);
    this.#left += this.#pending;
    this.#pending = 0;
  }
}
