// A 32-bit hash of a text, the same in every process, so that all waypoints send one key to one endpoint. Spreads well
// and is fast; it is no defence: whoever chooses the text can choose the hash.

/**
 * FNV-1a over UTF-16 units, then the finalizer of MurmurHash3, because FNV alone leaves the high bits of short texts
 * alike. @returns an unsigned 32-bit number
 */
export function hashText(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixHash(hash ^ text.length);
}

/** The finalizer of MurmurHash3: every bit of `value` changes about half of the result's. */
export function mixHash(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
