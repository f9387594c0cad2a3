// The way out of an HTTP/1.1 connection: what has no room on the transport waits here, bounded, and no data may pass it.
// Only heads, trailers and last chunks ever wait, since data is written within the room there is.

import { Slab } from '../io/slab.ts';
import type { ByteTransport } from './byte-transport.ts';

/** Heads that a peer does not read: beyond this it is given up. */
const maxWaitingBytes = 1024 * 1024;

export class Outbox {
  readonly #transport: ByteTransport;
  #waiting: Slab[] = [];
  #waitingBytes = 0;
  /** Octets of the first waiting piece that are sent. */
  #sent = 0;
  #after: 'nothing' | 'endWrite' | 'end' = 'nothing';

  constructor(transport: ByteTransport) {
    this.#transport = transport;
  }

  /** True while something waits for room. */
  get blocked(): boolean {
    return this.#waiting.length > 0;
  }

  /** Octets of data that may be written now; if 0, onTransportWritable will come. */
  room(): number {
    if (this.#waiting.length > 0) return 0;
    const room = this.#transport.room();
    if (room > 0) return room;
    this.#transport.flush();
    return this.#transport.room();
  }

  /** Data, within `room()`. */
  data(slab: Slab, offset: number, length: number): void {
    this.#transport.write(slab, offset, length);
  }

  /** Anything else; false if so much waits already that the connection must end. */
  control(slab: Slab, offset: number, length: number): boolean {
    if (this.room() >= length) {
      this.#transport.write(slab, offset, length);
      return true;
    }
    if (this.#waitingBytes + length > maxWaitingBytes) return false;
    const copy = new Slab(length);
    slab.bytes.copy(copy.bytes, 0, offset, offset + length);
    this.#waiting.push(copy);
    this.#waitingBytes += length;
    // What fits goes; and the transport learns that somebody waits.
    this.drain();
    return true;
  }

  /** Ends the own direction (`endWrite`) or the connection (`end`) once all was handed to the transport. */
  finish(how: 'endWrite' | 'end'): void {
    if (this.blocked) this.#after = how;
    else this.#transport[how]();
  }

  /** The transport has room again: true when nothing waits any more. */
  drain(): boolean {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const room = this.#transport.room();
      // A head larger than all the room there ever is goes in parts.
      const length = Math.min(room, next.bytes.length - this.#sent);
      if (length <= 0) return false;
      this.#transport.write(next, this.#sent, length);
      this.#sent += length;
      if (this.#sent < next.bytes.length) continue;
      this.#waiting.shift();
      this.#waitingBytes -= next.bytes.length;
      this.#sent = 0;
    }
    if (this.#after !== 'nothing') this.#transport[this.#after]();
    this.#after = 'nothing';
    return true;
  }
}
