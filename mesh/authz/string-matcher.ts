// Whether a text matches any of a list of patterns. Compiled once; exact values cost one look-up, whatever their number.

import type { PathMatch, StringMatch } from '../model/authorization.ts';
import { PathTemplate } from './path-template.ts';

export class StringMatcher {
  /** Any non-empty text is enough. */
  readonly presence: boolean;
  readonly #exact = new Set<string>();
  readonly #prefixes: string[] = [];
  readonly #suffixes: string[] = [];
  readonly #templates: PathTemplate[] = [];

  constructor(matches: readonly PathMatch[]) {
    this.presence = matches.some(({ kind }) => kind === 'presence');
    for (const match of matches) {
      if (match.kind === 'exact') this.#exact.add(match.value);
      else if (match.kind === 'prefix') this.#prefixes.push(match.value);
      else if (match.kind === 'suffix') this.#suffixes.push(match.value);
      else if (match.kind === 'template') this.#templates.push(new PathTemplate(match.value));
    }
  }

  accepts(text: string): boolean {
    if (this.presence && text !== '') return true;
    if (this.#exact.has(text)) return true;
    for (const prefix of this.#prefixes) if (text.startsWith(prefix)) return true;
    for (const suffix of this.#suffixes) if (text.endsWith(suffix)) return true;
    for (const template of this.#templates) if (template.accepts(text)) return true;
    return false;
  }
}

/** Undefined for an empty list: nothing is demanded. */
export function stringMatcher(matches: readonly (StringMatch | PathMatch)[]): StringMatcher | undefined {
  return matches.length === 0 ? undefined : new StringMatcher(matches);
}
