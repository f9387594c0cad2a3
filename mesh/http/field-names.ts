// Field names in lower case, made from the octets of a message without a new string for each: a small table of names
// seen before. Also says which names mean something to the connection itself.

import { TOKEN_LOWER } from './octets.ts';

/** Meaning of a field for the connection; `PLAIN` fields are passed on as they are. */
export const PLAIN = 0;
export const HOST = 1;
export const CONTENT_LENGTH = 2;
export const TRANSFER_ENCODING = 3;
export const CONNECTION = 4;
export const UPGRADE = 5;
export const TE = 6;
export const EXPECT = 7;
/** Belongs to one connection and says nothing that is needed (RFC 9110 section 7.6.1). */
export const HOP_BY_HOP = 8;

export interface FieldName {
  readonly name: string;
  readonly meaning: number;
}

const meanings: ReadonlyMap<string, number> = new Map([
  ['host', HOST],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['connection', CONNECTION],
  ['upgrade', UPGRADE],
  ['te', TE],
  ['expect', EXPECT],
  ['keep-alive', HOP_BY_HOP],
  ['proxy-connection', HOP_BY_HOP],
]);

/** Of a name in lower case. */
export function meaningOf(name: string): number {
  return meanings.get(name) ?? PLAIN;
}

// Direct-mapped: a peer that makes names collide makes itself slower, nothing else.
const slots = 1024;
const longestKept = 64;
const table = new Array<FieldName | undefined>(slots).fill(undefined);

/** The name whose octets, all of a token, lie in `bytes` from `start` to `end`; `hash` is any function of its lower case. */
export function fieldName(bytes: Buffer, start: number, end: number, hash: number): FieldName {
  const slot = hash & (slots - 1);
  const known = table[slot];
  if (known !== undefined && matches(known.name, bytes, start, end)) return known;
  const name = bytes.toString('latin1', start, end).toLowerCase();
  const made = { name, meaning: meaningOf(name) };
  if (end - start <= longestKept) table[slot] = made;
  return made;
}

function matches(name: string, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (name.charCodeAt(i) !== TOKEN_LOWER[bytes[start + i] as number]) return false;
  }
  return true;
}

/** As many applications see the name: they take an underscore for a hyphen (CGI, RFC 3875 section 4.1.18). */
export function hyphenated(name: string): string {
  return name.includes('_') ? name.replaceAll('_', '-') : name;
}
