// The static table of HPACK (RFC 7541 appendix A), and the search in it for the encoder.

import type { Header } from '../header.ts';

/** Index 1 is the first entry; index 0 is not used on the wire and never looked up. */
export const STATIC_TABLE: readonly Header[] = [
  ['', ''],
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
];

/** Number of entries; dynamic indices start after it. */
export const STATIC_COUNT = STATIC_TABLE.length - 1;

const firstByName = new Map<string, number>();
for (let index = STATIC_COUNT; index > 0; index -= 1)
  firstByName.set((STATIC_TABLE[index] as Header)[0], index);

/** Index of the first entry called `name`, 0 if none. Entries of one name are consecutive. */
export function staticNameIndex(name: string): number {
  return firstByName.get(name) ?? 0;
}

/** Index of the entry with this name and value, 0 if none; `first` is the name's `staticNameIndex`. */
export function staticFieldIndex(first: number, name: string, value: string): number {
  for (let index = first; index <= STATIC_COUNT; index += 1) {
    const entry = STATIC_TABLE[index] as Header;
    if (entry[0] !== name) return 0;
    if (entry[1] === value) return index;
  }
  return 0;
}
