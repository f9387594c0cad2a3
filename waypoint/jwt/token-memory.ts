// Verified results by key, for a while. Bounded: the oldest goes first. Refusals have a memory of their own, so that
// whoever sends one bad token after the other forgets nobody else's good ones.

import type { TokenResult } from './token-job.ts';

/** A token is verified again after this long, so that a key that was withdrawn ends to count. */
const validMs = 300_000;
const invalidMs = 10_000;

interface Entry {
  readonly result: TokenResult;
  readonly until: number;
}

export class TokenMemory {
  readonly #valid = new Map<string, Entry>();
  readonly #invalid = new Map<string, Entry>();
  readonly #max: number;

  /** `max` entries of each kind. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#valid.size + this.#invalid.size;
  }

  /** `now` is the wall clock in ms. */
  get(key: string, now: number): TokenResult | undefined {
    return live(this.#valid, key, now) ?? live(this.#invalid, key, now);
  }

  /** Until the token ends or the result is too old; what may change at once is not kept. */
  set(key: string, result: TokenResult, now: number): void {
    if (result.kind === 'unavailable' || (result.kind === 'invalid' && !result.lasting)) return;
    const valid = result.kind === 'valid';
    const end = valid ? (result.expiresAt ?? Infinity) : Infinity;
    const until = Math.min(now + (valid ? validMs : invalidMs), end);
    if (until <= now) return;
    const entries = valid ? this.#valid : this.#invalid;
    entries.delete(key);
    if (entries.size >= this.#max) entries.delete(entries.keys().next().value as string);
    entries.set(key, { result, until });
  }
}

function live(entries: Map<string, Entry>, key: string, now: number): TokenResult | undefined {
  const entry = entries.get(key);
  if (entry === undefined) return undefined;
  if (entry.until > now) return entry.result;
  entries.delete(key);
  return undefined;
}
