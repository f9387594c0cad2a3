// Keys by URL. A set is fetched again in the background before it is too old, again at once (but not often) when a token
// names a key that is not in it, and goes on to count for a bounded time while its server is away. One fetch of a URL at
// a time; after failures ever longer pauses, so that a server that is down is not asked by every request.

import type { Clock } from '../../mesh/runtime/clock.ts';
import type { JwksError } from './jwks-error.ts';
import { type KeySet, parseKeySet } from './key-set.ts';

export interface JwksCacheOptions {
  readonly clock: Clock;
  /** @throws JwksError */
  readonly fetchText: (url: string) => Promise<string>;
  readonly onFetch?: (url: string, error: JwksError | undefined) => void;
  /** A set older than this is fetched again while it is used; default 5 min. */
  readonly refreshMs?: number;
  /** A set older than this does not count any more; default 1 h. */
  readonly staleMs?: number;
  /** Between fetches because of keys that were not found; default 10 s. */
  readonly unknownKeyMs?: number;
  /** Default 1,000; the one unused longest is forgotten. */
  readonly maxUrls?: number;
}

/** First pause after a failure; doubled up to the second. */
const firstPauseMs = 1_000;
const maxPauseMs = 30_000;

interface Entry {
  keys: KeySet | undefined;
  /** Monotonic ms. */
  fetchedAt: number;
  notBefore: number;
  pauseMs: number;
  unknownKeyAt: number;
  fetching: Promise<KeySet> | undefined;
  failure: JwksError | undefined;
}

export class JwksCache {
  readonly #options: Required<Omit<JwksCacheOptions, 'onFetch'>> & Pick<JwksCacheOptions, 'onFetch'>;
  readonly #entries = new Map<string, Entry>();

  constructor(options: JwksCacheOptions) {
    const defaults = { refreshMs: 300_000, staleMs: 3_600_000, unknownKeyMs: 10_000, maxUrls: 1_000 };
    this.#options = { ...defaults, ...options };
  }

  /** Keys that may count now. @throws JwksError the last failure, when there are none. */
  async keysFor(url: string): Promise<KeySet> {
    const entry = this.#entryOf(url);
    const age = this.#options.clock.monotonic() - entry.fetchedAt;
    if (entry.keys === undefined || age >= this.#options.staleMs) return this.#fetch(url, entry);
    // A failure is remembered in the entry and reported; the set at hand still counts.
    if (age >= this.#options.refreshMs) this.#fetch(url, entry).catch(() => {});
    return entry.keys;
  }

  /**
   * Keys fetched after `seen` was: a token names a key that `seen` lacks. Undefined when it is too soon to ask again:
   * then the key counts as unknown. @throws JwksError
   */
  async newerKeys(url: string, seen: KeySet): Promise<KeySet | undefined> {
    const entry = this.#entryOf(url);
    if (entry.keys !== undefined && entry.keys !== seen) return entry.keys;
    const now = this.#options.clock.monotonic();
    if (entry.fetching === undefined && now - entry.unknownKeyAt < this.#options.unknownKeyMs)
      return undefined;
    if (entry.fetching === undefined) entry.unknownKeyAt = now;
    return this.#fetch(url, entry);
  }

  #entryOf(url: string): Entry {
    const entry = this.#entries.get(url) ?? {
      keys: undefined,
      fetchedAt: -Infinity,
      notBefore: -Infinity,
      pauseMs: firstPauseMs,
      unknownKeyAt: -Infinity,
      fetching: undefined,
      failure: undefined,
    };
    this.#entries.delete(url);
    if (this.#entries.size >= this.#options.maxUrls)
      this.#entries.delete(this.#entries.keys().next().value as string);
    this.#entries.set(url, entry);
    return entry;
  }

  #fetch(url: string, entry: Entry): Promise<KeySet> {
    if (entry.fetching !== undefined) return entry.fetching;
    if (entry.failure !== undefined && this.#options.clock.monotonic() < entry.notBefore)
      return Promise.reject(entry.failure);
    entry.fetching = this.#fetchNow(url, entry).finally(() => {
      entry.fetching = undefined;
    });
    return entry.fetching;
  }

  async #fetchNow(url: string, entry: Entry): Promise<KeySet> {
    const { clock, fetchText, onFetch } = this.#options;
    try {
      entry.keys = parseKeySet(await fetchText(url));
    } catch (error) {
      entry.failure = error as JwksError;
      entry.notBefore = clock.monotonic() + entry.pauseMs;
      entry.pauseMs = Math.min(entry.pauseMs * 2, maxPauseMs);
      onFetch?.(url, entry.failure);
      throw entry.failure;
    }
    entry.fetchedAt = clock.monotonic();
    entry.failure = undefined;
    entry.pauseMs = firstPauseMs;
    onFetch?.(url, undefined);
    return entry.keys;
  }
}
