// The way out of a TLS connection: OpenSSL encrypts into a ring (one half of a BIO pair), the ring is sent from
// directly. Many frames and records so leave in one send(). Owns the accounting that lets a writer know beforehand
// what fits; the ring never overflows and a write never fails halfway.

import * as libc from './libc.ts';
import * as openssl from './openssl.ts';
import { Slab } from './slab.ts';

/** TLS 1.3: 5 bytes header, 1 byte content type, 16 bytes tag (RFC 8446 section 5.2; every suite of TlsContext). */
export const recordOverhead = 22;
const recordPayload = 16_384;
/** Room that data never takes: handshake leftovers, alerts, key updates. */
const reserve = 2 * 1024;

export const SENT = 0;
export const BLOCKED = 1;
export const BROKEN = 2;

const pointers = new Slab(16);

export class TlsRing {
  /** BIO* for SSL_set0_wbio; owned by the SSL object after that. */
  readonly inner: number;
  /** errno of the send that returned BROKEN. */
  error = 0;
  #net: number;
  #size: number;
  /** Address behind the ring's last byte; it is known when the first bytes are sent. */
  #end = 0;
  /** Upper bound of the bytes in the ring; exact again whenever the ring runs empty. */
  #used = 0;

  /** @param size bytes; what one send() can take at most. */
  constructor(size: number) {
    this.#size = size;
    openssl.BIO_new_bio_pair(pointers.address, size, pointers.address + 8, 16);
    this.inner = pointers.pointerAt(0);
    this.#net = pointers.pointerAt(8);
  }

  /** Plain bytes that fit now; 0 when there is no worthwhile room. */
  room(): number {
    const free = this.#size - this.#used - reserve;
    return free <= recordOverhead ? 0 : free - recordOverhead * Math.ceil(free / recordPayload);
  }

  /** Tells that `length` plain bytes were encrypted into the ring. */
  wrote(length: number): void {
    this.#used += length + recordOverhead * Math.ceil(length / recordPayload);
  }

  /** Bytes of unknown size went in (handshake, alert). */
  wroteControl(): void {
    if (this.#used === 0) this.#used = 1;
  }

  get empty(): boolean {
    return this.#used === 0;
  }

  /** Sends all it can: SENT (the ring is empty), BLOCKED (an event says when to go on) or BROKEN. */
  flush(fd: number): number {
    for (;;) {
      const count = openssl.BIO_nread0(this.#net, pointers.address);
      if (count <= 0) {
        this.#used = 0;
        return SENT;
      }
      const from = pointers.pointerAt(0);
      // A ring is filled from its beginning when it was empty (bio_nread in OpenSSL's bss_bio.c), so also the first time.
      if (this.#end === 0) this.#end = from + this.#size;
      const sent = libc.send(fd, from, count, libc.MSG_NOSIGNAL);
      if (sent < 0) {
        const code = libc.errno();
        if (code === libc.EAGAIN || code === libc.EINTR) return BLOCKED;
        this.error = code;
        return BROKEN;
      }
      openssl.BIO_nread(this.#net, pointers.address, sent);
      this.#used = Math.max(1, this.#used - sent);
      if (sent < count) return BLOCKED;
      // What does not end at the ring's end has nothing behind it at the beginning.
      if (from + count < this.#end) {
        this.#used = 0;
        return SENT;
      }
    }
  }

  /** Frees the network half; the other half goes with the SSL object. */
  free(): void {
    openssl.BIO_free(this.#net);
  }
}
