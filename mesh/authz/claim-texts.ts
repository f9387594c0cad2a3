// The texts of a claim, by its path in a token's payload, as rules compare them: a text, a number, a truth value, or
// each of these in a list. Objects are no text: a rule names what is inside of them by a longer path.

import type { Claims } from './http-facts.ts';

/** Claims that hold several values in one text (RFC 8693 section 4.2; Istio reads both so). */
const spaceDelimited: ReadonlySet<string> = new Set(['scope', 'permission']);

/** Empty if the claim is absent or has no text. */
export function claimTexts(claims: Claims | undefined, path: readonly string[]): readonly string[] {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return none;
    value = (value as Claims)[name];
  }
  if (Array.isArray(value)) return value.map(textOf).filter((text) => text !== undefined);
  const text = textOf(value);
  if (text === undefined) return none;
  if (path.length === 1 && spaceDelimited.has(path[0] as string) && text.includes(' '))
    return text.split(' ').filter((part) => part !== '');
  return [text];
}

const none: readonly string[] = Object.freeze([]);

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}
