// Encodes header lists of one connection (RFC 7541). Owns the dynamic table and the choice of what enters it.
// What was encoded must be sent, in that order: the peer's table follows ours.

import { H2Error } from '../error.ts';
import type { Header } from '../header.ts';
import { DynamicTable, FIELD_OVERHEAD } from './dynamic-table.ts';
import { DEFAULT_TABLE_BYTES } from './decoder.ts';
import { huffmanEncode, huffmanLength } from './huffman.ts';
import { writeInteger } from './integer.ts';
import { STATIC_COUNT, staticFieldIndex, staticNameIndex } from './static-table.ts';

/** Literals an intermediary must not index either (RFC 7541 section 7.1.3): secrets that could be guessed bit by bit. */
const NEVER_INDEXED = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie']);

/** Values that differ with nearly every message: indexing them only pushes useful entries out. */
const NOT_WORTH_INDEXING = new Set([
  ':path',
  'age',
  'content-length',
  'content-range',
  'etag',
  'forwarded',
  'if-modified-since',
  'if-none-match',
  'last-modified',
  'location',
  'traceparent',
  'tracestate',
  'x-request-id',
]);

export class HpackEncoder {
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES);
  /** Smallest size set since the last block, -1 if none: a dip must be told even if the size rose again (section 4.2). */
  #pendingMinimum = -1;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not used, to bound memory. */
  setTableLimit(bytes: number): void {
    const size = Math.min(bytes, DEFAULT_TABLE_BYTES);
    if (size === this.#table.maxBytes) return;
    this.#pendingMinimum = this.#pendingMinimum < 0 ? size : Math.min(size, this.#pendingMinimum);
    this.#table.resize(size);
  }

  /**
   * Writes the block for `headers` at `at` and returns the position after it; the room needed is `encodedBound`.
   * Throws H2Error INTERNAL_ERROR, before anything changed, if a field holds a character no header may hold.
   */
  encode(headers: readonly Header[], bytes: Buffer, at: number): number {
    for (const header of headers) requireSendable(header);
    let end = at;
    if (this.#pendingMinimum >= 0) {
      if (this.#pendingMinimum < this.#table.maxBytes) {
        end = writeInteger(bytes, end, 0x20, 5, this.#pendingMinimum);
      }
      end = writeInteger(bytes, end, 0x20, 5, this.#table.maxBytes);
      this.#pendingMinimum = -1;
    }
    for (const header of headers) end = this.#field(header, bytes, end);
    return end;
  }

  #field(header: Header, bytes: Buffer, at: number): number {
    const [name, value] = header;
    let nameIndex = staticNameIndex(name);
    if (NEVER_INDEXED.has(name)) return literal(bytes, at, 0x10, 4, nameIndex, header);
    const full = nameIndex === 0 ? 0 : staticFieldIndex(nameIndex, name, value);
    if (full !== 0) return writeInteger(bytes, at, 0x80, 7, full);
    const count = this.#table.count;
    for (let age = 0; age < count; age += 1) {
      const entry = this.#table.get(age) as Header;
      if (entry[0] !== name) continue;
      if (entry[1] === value) return writeInteger(bytes, at, 0x80, 7, STATIC_COUNT + 1 + age);
      if (nameIndex === 0) nameIndex = STATIC_COUNT + 1 + age;
    }
    const size = name.length + value.length + FIELD_OVERHEAD;
    // An entry that would take most of the table is not worth the ones it evicts.
    if (size * 2 > this.#table.maxBytes || NOT_WORTH_INDEXING.has(name)) {
      return literal(bytes, at, 0x00, 4, nameIndex, header);
    }
    const end = literal(bytes, at, 0x40, 6, nameIndex, header);
    this.#table.insert(header);
    return end;
  }
}

/** Octets that `encode` writes at most for `headers`: two table size updates, then literals with their lengths. */
export function encodedBound(headers: readonly Header[]): number {
  let bound = 12;
  for (const header of headers) bound += 18 + header[0].length + header[1].length;
  return bound;
}

function literal(
  bytes: Buffer,
  at: number,
  // Positional: called for every literal field.
  first: number,
  prefixBits: number,
  nameIndex: number,
  header: Header,
): number {
  let end = writeInteger(bytes, at, first, prefixBits, nameIndex);
  if (nameIndex === 0) end = string(bytes, end, header[0]);
  return string(bytes, end, header[1]);
}

function string(bytes: Buffer, at: number, text: string): number {
  const length = huffmanLength(text);
  if (length < text.length) return huffmanEncode(text, bytes, writeInteger(bytes, at, 0x80, 7, length));
  const start = writeInteger(bytes, at, 0x00, 7, text.length);
  bytes.write(text, start, 'latin1');
  return start + text.length;
}

function requireSendable(header: Header): void {
  for (const text of header) {
    for (let i = 0; i < text.length; i += 1) {
      const char = text.charCodeAt(i);
      if (char === 0 || char === 10 || char === 13 || char > 0xff) {
        throw new H2Error(
          'INTERNAL_ERROR',
          `Encoding header "${header[0]}": character ${char} at ${i} is not allowed in a field`,
        );
      }
    }
  }
}
