// Whether a connection reads: it does while nobody has a reason against it.

import type { ByteTransport } from './byte-transport.ts';

export class ReadPause {
  readonly #transport: ByteTransport;
  #reasons = 0;

  constructor(transport: ByteTransport) {
    this.#transport = transport;
  }

  /** @param reason one bit, the caller's own. */
  add(reason: number): void {
    if (this.#reasons === 0) this.#transport.pause();
    this.#reasons |= reason;
  }

  /** No error if the reason was not given. */
  remove(reason: number): void {
    if ((this.#reasons & reason) === 0) return;
    this.#reasons &= ~reason;
    if (this.#reasons === 0) this.#transport.resume();
  }

  /** The transport is gone: there is nothing to resume. */
  forget(): void {
    this.#reasons = 0;
  }
}
