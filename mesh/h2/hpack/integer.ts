// HPACK integers (RFC 7541 section 5.1) and the cursor all HPACK reading shares.
// Values are limited to 2^28-1: larger ones can not be an index or a length here, and the limit also ends endless zero continuations.

import { H2Error } from '../error.ts';

const MAX_VALUE = 0x0fffffff;

const NOTHING = Buffer.alloc(0);

/** A position in a header block; reading past `end` is a COMPRESSION_ERROR. */
export class HpackCursor {
  bytes: Buffer = NOTHING;
  at = 0;
  end = 0;

  /** Begins at `start` of a block that ends at `end`. */
  open(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Lets go of the block. */
  close(): void {
    this.bytes = NOTHING;
    this.at = 0;
    this.end = 0;
  }

  /** Reads the integer whose first byte's low `prefixBits` (1 to 8) belong to it. */
  integer(prefixBits: number): number {
    if (this.at >= this.end) throw truncated();
    const mask = (1 << prefixBits) - 1;
    let value = (this.bytes[this.at++] as number) & mask;
    if (value < mask) return value;
    // Four continuation bytes hold 28 bits; a fifth can only overflow MAX_VALUE or be padding.
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.at >= this.end) throw truncated();
      const byte = this.bytes[this.at++] as number;
      value += (byte & 0x7f) << shift;
      if (value > MAX_VALUE) break;
      if (byte < 0x80) return value;
    }
    throw new H2Error('COMPRESSION_ERROR', `Decoding a header block: integer above ${MAX_VALUE}`);
  }
}

function truncated(): H2Error {
  return new H2Error('COMPRESSION_ERROR', 'Decoding a header block: the block ends inside a field');
}

/** Writes `value` with the upper bits of the first byte set to `first`; returns the position after it. At most 6 bytes. */
export function writeInteger(
  bytes: Buffer,
  at: number,
  // Numbers, not an options object: called for every field of every header list.
  first: number,
  prefixBits: number,
  value: number,
): number {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    bytes[at] = first | value;
    return at + 1;
  }
  bytes[at++] = first | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at] = rest;
  return at + 1;
}
