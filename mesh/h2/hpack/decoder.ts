// Decodes header blocks of one connection (RFC 7541). Owns the dynamic table; validity of names and values is not its concern.
// Every block must be decoded, also of streams that are refused, or the table goes out of step with the peer's.

import { H2Error } from '../error.ts';
import type { Header } from '../header.ts';
import { DynamicTable, FIELD_OVERHEAD } from './dynamic-table.ts';
import { huffmanDecode } from './huffman.ts';
import { HpackCursor } from './integer.ts';
import { STATIC_COUNT, STATIC_TABLE } from './static-table.ts';

/** RFC 7541 and RFC 9113 section 6.5.2: the table size before any SETTINGS. */
export const DEFAULT_TABLE_BYTES = 4096;

/** A list this many times the limit is not worth decoding to its end: references of one octet can stand for 4 KiB each. */
const BOMB_FACTOR = 4;

// Shared by all decoders of the thread: a string is copied out before the next one is read.
let scratch = Buffer.allocUnsafeSlow(4096);

export class HpackDecoder {
  readonly #cursor = new HpackCursor();
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES);
  readonly #maxListBytes: number;
  #tableLimit: number;
  #mustShrink = false;
  #oversize = false;

  /** @param options.maxListBytes largest list handed out, measured as RFC 9113 section 6.5.2 does. */
  constructor(options: { readonly maxListBytes: number; readonly tableBytes: number }) {
    this.#maxListBytes = options.maxListBytes;
    this.#tableLimit = Math.max(options.tableBytes, DEFAULT_TABLE_BYTES);
  }

  /** True if the last list was larger than `maxListBytes`; it is then incomplete and must not be used. */
  get oversize(): boolean {
    return this.#oversize;
  }

  /** The peer acknowledged our SETTINGS_HEADER_TABLE_SIZE: from now on it may not use more (RFC 7541 section 4.2). */
  tableSizeAcknowledged(bytes: number): void {
    this.#tableLimit = bytes;
    this.#mustShrink = this.#table.maxBytes > bytes;
  }

  /**
   * Decodes the block `bytes[start, end)`. Throws H2Error COMPRESSION_ERROR if it is malformed and ENHANCE_YOUR_CALM
   * if it grows to several times the limit; both end the connection.
   */
  decode(bytes: Buffer, start: number, end: number): Header[] {
    const cursor = this.#cursor;
    cursor.open(bytes, start, end);
    this.#oversize = false;
    this.#sizeUpdates();
    const headers: Header[] = [];
    let total = 0;
    while (cursor.at < end) {
      const header = this.#field();
      total += header[0].length + header[1].length + FIELD_OVERHEAD;
      if (total <= this.#maxListBytes) headers.push(header);
      else if (total > this.#maxListBytes * BOMB_FACTOR) throw bomb(this.#maxListBytes);
      else this.#oversize = true;
    }
    cursor.close();
    return headers;
  }

  #field(): Header {
    const cursor = this.#cursor;
    const first = cursor.bytes[cursor.at] as number;
    if (first >= 0x80) return this.#entry(cursor.integer(7));
    if (first >= 0x40) {
      const header = this.#literal(6);
      this.#table.insert(header);
      return header;
    }
    if (first >= 0x20) {
      throw new H2Error(
        'COMPRESSION_ERROR',
        'Decoding a header block: table size update after the first field',
      );
    }
    return this.#literal(4);
  }

  #literal(prefixBits: number): Header {
    const index = this.#cursor.integer(prefixBits);
    const name = index === 0 ? this.#string() : this.#entry(index)[0];
    return [name, this.#string()];
  }

  #entry(index: number): Header {
    const entry = index <= STATIC_COUNT ? STATIC_TABLE[index] : this.#table.get(index - STATIC_COUNT - 1);
    if (index === 0 || entry === undefined) {
      throw new H2Error('COMPRESSION_ERROR', `Decoding a header block: no table entry ${index}`);
    }
    return entry;
  }

  #string(): string {
    const cursor = this.#cursor;
    const huffman = cursor.at < cursor.end && (cursor.bytes[cursor.at] as number) >= 0x80;
    const length = cursor.integer(7);
    const start = cursor.at;
    const end = start + length;
    if (end > cursor.end) {
      throw new H2Error(
        'COMPRESSION_ERROR',
        `Decoding a header block: string of ${length} octets is cut off`,
      );
    }
    cursor.at = end;
    if (!huffman) return cursor.bytes.toString('latin1', start, end);
    const bound = Math.ceil((length * 8) / 5);
    if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
    return scratch.toString('latin1', 0, huffmanDecode(cursor.bytes, start, end, scratch));
  }

  /** RFC 7541 section 4.2: only at the start of a block, and required there after the limit was lowered. */
  #sizeUpdates(): void {
    const cursor = this.#cursor;
    while (cursor.at < cursor.end && ((cursor.bytes[cursor.at] as number) & 0xe0) === 0x20) {
      const size = cursor.integer(5);
      if (size > this.#tableLimit) {
        throw new H2Error(
          'COMPRESSION_ERROR',
          `Decoding a header block: table size ${size} is above the limit ${this.#tableLimit}`,
        );
      }
      this.#table.resize(size);
      this.#mustShrink = false;
    }
    if (this.#mustShrink) {
      throw new H2Error(
        'COMPRESSION_ERROR',
        'Decoding a header block: the peer did not lower its table size',
      );
    }
  }
}

function bomb(limit: number): H2Error {
  return new H2Error(
    'ENHANCE_YOUR_CALM',
    `Decoding a header block: the list exceeds ${BOMB_FACTOR} times ${limit} octets`,
  );
}
