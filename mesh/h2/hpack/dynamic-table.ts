// The dynamic table of HPACK (RFC 7541 sections 2.3.2 and 4), used by the encoder and the decoder of one direction each.
// Invariant: the sum of the entries' sizes never exceeds `maxBytes`. Strings are latin1, so a character is an octet.

import type { Header } from '../header.ts';

/** RFC 7541 section 4.1: what an entry costs beside its octets. Also used by SETTINGS_MAX_HEADER_LIST_SIZE. */
export const FIELD_OVERHEAD = 32;

export class DynamicTable {
  /** Oldest first; the live ones start at #first, so that an eviction moves nothing. */
  #entries: (Header | undefined)[] = [];
  #first = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#entries.length - this.#first;
  }

  /** The entry inserted `age` insertions ago, 0 for the newest; undefined outside the table. */
  get(age: number): Header | undefined {
    return age < this.count ? this.#entries[this.#entries.length - 1 - age] : undefined;
  }

  /** Adds an entry, evicting the oldest; one larger than the table empties it (RFC 7541 section 4.4). */
  insert(header: Header): void {
    const size = header[0].length + header[1].length + FIELD_OVERHEAD;
    this.#evictTo(this.#maxBytes - size);
    if (size > this.#maxBytes) return;
    this.#entries.push(header);
    this.#bytes += size;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes && this.#first < this.#entries.length) {
      const [name, value] = this.#entries[this.#first] as Header;
      this.#entries[this.#first] = undefined;
      this.#first += 1;
      this.#bytes -= name.length + value.length + FIELD_OVERHEAD;
    }
    if (this.#first >= 64 && this.#first * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }
}
