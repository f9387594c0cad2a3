// Values by exact text, prefix or suffix. Prefixes (suffixes) of one length share a Map, so a look-up costs one step for
// each length in use, whatever the number of entries.

import type { StringMatch } from '../model/authorization.ts';

export type ValueMatch = Exclude<StringMatch, { kind: 'presence' }>;

interface Affixes<V> {
  readonly kind: 'prefix' | 'suffix';
  readonly length: number;
  readonly values: Map<string, V>;
}

export class StringTable<V> {
  readonly #exact = new Map<string, V>();
  readonly #affixes: Affixes<V>[] = [];

  get(match: ValueMatch): V | undefined {
    if (match.kind === 'exact') return this.#exact.get(match.value);
    return this.#affixesLike(match.kind, match.value.length)?.values.get(match.value);
  }

  set(match: ValueMatch, value: V): void {
    if (match.kind === 'exact') {
      this.#exact.set(match.value, value);
      return;
    }
    let affixes = this.#affixesLike(match.kind, match.value.length);
    if (affixes === undefined) {
      affixes = { kind: match.kind, length: match.value.length, values: new Map() };
      this.#affixes.push(affixes);
    }
    affixes.values.set(match.value, value);
  }

  /** Adds the values of all entries that match the text to the end of `found`. */
  collect(text: string, found: V[]): void {
    const exact = this.#exact.get(text);
    if (exact !== undefined) found.push(exact);
    for (const { kind, length, values } of this.#affixes) {
      if (length > text.length) continue;
      const value = values.get(kind === 'prefix' ? text.slice(0, length) : text.slice(text.length - length));
      if (value !== undefined) found.push(value);
    }
  }

  #affixesLike(kind: 'prefix' | 'suffix', length: number): Affixes<V> | undefined {
    return this.#affixes.find((affixes) => affixes.kind === kind && affixes.length === length);
  }
}
