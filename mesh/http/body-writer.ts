// The body of a message on the way out: framed by length, in chunks, by the end of the connection, not at all, or raw
// behind an upgrade. Writes in place: the chunk's size goes into the head room, its CRLF borrows two octets behind the
// data and puts them back.

import { H2Error } from '../h2/error.ts';
import type { Header } from '../h2/header.ts';
import { Slab } from '../io/slab.ts';
import type { Framing, HeadWriter } from './head-writer.ts';
import type { Outbox } from './outbox.ts';

/** Of a chunk's size line and the CRLF behind its data, at most. */
const chunkOverhead = 9 + 2;
const maxChunkBytes = 0xfffff;
const CR = 0x0d;
const LF = 0x0a;

const lastChunk = slabOf('0\r\n\r\n');
const lineEnd = slabOf('\r\n');

function slabOf(text: string): Slab {
  const slab = new Slab(text.length);
  slab.bytes.write(text, 'latin1');
  return slab;
}

export class BodyWriter {
  framing: Framing = 'none';
  readonly #outbox: Outbox;
  /** With framing `length`: octets that were promised and not sent yet. */
  #left = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** The head was sent. */
  begin(framing: Framing, contentLength: number): void {
    this.framing = framing;
    this.#left = contentLength;
  }

  /** See H2Stream.sendAllowance; 0 when the transport is full. */
  allowance(): number {
    const room = this.#outbox.room();
    if (this.framing !== 'chunked') return room;
    const left = room - chunkOverhead;
    return left <= 0 ? 0 : left > maxChunkBytes ? maxChunkBytes : left;
  }

  /** @throws H2Error INTERNAL_ERROR for more than a declared length */
  data(slab: Slab, offset: number, length: number): void {
    switch (this.framing) {
      case 'none':
        return;
      case 'length':
        if (length > this.#left)
          throw misuse(`${length} octets, but only ${this.#left} were left of content-length`);
        this.#left -= length;
        return this.#outbox.data(slab, offset, length);
      case 'chunked':
        return this.#chunk(slab, offset, length);
      default:
        return this.#outbox.data(slab, offset, length);
    }
  }

  /** Ends the body, with trailers where the framing has a place for them. False: the connection must be cut, as the peer would take what it got for all, or waits for the rest. */
  end(trailers: readonly Header[] | undefined, writer: HeadWriter): boolean {
    const { framing } = this;
    this.framing = 'none';
    if (framing === 'length') return this.#left === 0;
    if (framing !== 'chunked') return true;
    if (trailers === undefined) return this.#outbox.control(lastChunk, 0, 5);
    writer.trailers(trailers);
    return this.#outbox.control(writer.slab, 0, writer.length);
  }

  #chunk(slab: Slab, offset: number, length: number): void {
    const { bytes } = slab;
    let start = offset - 2;
    bytes[start] = CR;
    bytes[start + 1] = LF;
    for (let rest = length; rest > 0; rest >>>= 4) bytes[--start] = hexOctet(rest & 15);
    const end = offset + length;
    if (end + 2 > bytes.length) {
      this.#outbox.data(slab, start, end - start);
      this.#outbox.data(lineEnd, 0, 2);
      return;
    }
    const first = bytes[end] as number;
    const second = bytes[end + 1] as number;
    bytes[end] = CR;
    bytes[end + 1] = LF;
    this.#outbox.data(slab, start, end + 2 - start);
    bytes[end] = first;
    bytes[end + 1] = second;
  }
}

function hexOctet(digit: number): number {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}

function misuse(what: string): H2Error {
  return new H2Error('INTERNAL_ERROR', `Sending an HTTP/1.1 body: ${what}`);
}
