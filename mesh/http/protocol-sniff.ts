// What a client speaks, told from its first octets: HTTP/2 by its preface, HTTP/1.1 by a method and the begin of a
// target. Never needs more than `maxSniffBytes`. Says nothing about whether the rest is well formed.

import { CONNECTION_PREFACE } from '../h2/frame.ts';

export type SniffedProtocol = 'h2' | 'http1' | 'other';

/** The longest method that is taken for one; registered ones have at most 17 letters (RFC 9110 section 16.1). */
const maxMethodBytes = 24;
const absolute = 'http';

/** With this many octets the answer is never `need-more`. */
export const maxSniffBytes = maxMethodBytes + 1 + absolute.length;

/** Looks at `length` octets at `offset`, the first ones of a connection. */
export function sniffProtocol(bytes: Buffer, offset: number, length: number): SniffedProtocol | 'need-more' {
  if (length === 0) return 'need-more';
  const compared = Math.min(length, CONNECTION_PREFACE.length);
  if (bytes.compare(CONNECTION_PREFACE, 0, compared, offset, offset + compared) === 0) {
    return compared === CONNECTION_PREFACE.length ? 'h2' : 'need-more';
  }
  const methodBytes = countMethod(bytes, offset, Math.min(length, maxMethodBytes + 1));
  if (methodBytes === length) return 'need-more';
  if (methodBytes === 0 || methodBytes > maxMethodBytes || bytes[offset + methodBytes] !== 0x20)
    return 'other';
  return sniffTarget(bytes, {
    at: offset + methodBytes + 1,
    end: offset + length,
    connect: isConnect(bytes, offset, methodBytes),
  });
}

/** Upper-case letters, `-` and `_`: other tokens are allowed in methods, but the first words of other protocols too. */
function countMethod(bytes: Buffer, offset: number, limit: number): number {
  let count = 0;
  while (count < limit) {
    const octet = bytes[offset + count] as number;
    const inside = (octet >= 0x41 && octet <= 0x5a) || (count > 0 && (octet === 0x2d || octet === 0x5f));
    if (!inside) break;
    count++;
  }
  return count;
}

function isConnect(bytes: Buffer, offset: number, length: number): boolean {
  return length === 7 && bytes.toString('latin1', offset, offset + 7) === 'CONNECT';
}

/** `/`, `*` or `http`; anything behind CONNECT, which must not pass for an unknown protocol. */
function sniffTarget(
  bytes: Buffer,
  target: { readonly at: number; readonly end: number; readonly connect: boolean },
): SniffedProtocol | 'need-more' {
  const { at, end, connect } = target;
  if (connect) return 'http1';
  if (at === end) return 'need-more';
  if (bytes[at] === 0x2f || bytes[at] === 0x2a) return 'http1';
  const compared = Math.min(end - at, absolute.length);
  const begin = bytes.toString('latin1', at, at + compared).toLowerCase();
  if (!absolute.startsWith(begin)) return 'other';
  return compared === absolute.length ? 'http1' : 'need-more';
}
