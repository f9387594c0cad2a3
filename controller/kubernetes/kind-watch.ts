// One kind of objects kept up to date: list in pages, then watch from there for ever. A watch that ends goes on where
// it stopped; only "too old" (410) and events that make no sense start with a new list. The receiver keeps what it has
// while the API server is away. Invariant: a receiver sees a commit of a complete list or single changes, never a part.

import type { Clock } from '../../mesh/runtime/clock.ts';
import { Backoff } from '../../mesh/runtime/backoff.ts';
import type { KubeClient } from './kube-client.ts';
import { KubeError } from './kube-error.ts';
import { waitFor } from './wait.ts';

/** An object as the API server sent it. */
export interface RawObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
  };
  readonly [field: string]: unknown;
}

export interface KindWatchReceiver {
  /** A complete list begins; nothing counts before `commit`. */
  beginList(): { add(object: RawObject): void; commit(): void };
  onChanged(object: RawObject): void;
  onDeleted(object: RawObject): void;
  /** The kind is not served (404); objects known so far stay until the owner closes the watch. */
  onNotServed(): void;
  onState(state: WatchState): void;
}

export interface WatchState {
  /** True once a list was complete. */
  readonly synced: boolean;
  /** Why it does not work at the moment. */
  readonly failure?: KubeError;
}

export interface KindWatchOptions {
  readonly client: Pick<KubeClient, 'request' | 'watch'>;
  readonly clock: Clock;
  /** Collection, for example `/apis/apps/v1/deployments`. */
  readonly path: string;
  /** Asks for metadata alone, which for nodes and namespaces is a tenth of the bytes. */
  readonly metadataOnly?: boolean;
  /** For example `status.phase!=Succeeded`. */
  readonly fieldSelector?: string;
  /** Objects a page of the list; default 500, as kubectl. */
  readonly pageSize?: number;
  /** Longest silence; default 150 s, more than two bookmarks (one a minute). */
  readonly stallMs?: number;
  /** Longest wait between attempts of our own accord; default 5 s. */
  readonly maxDelayMs?: number;
  /** In [0, 1); default Math.random. */
  readonly random?: () => number;
}

const minDelayMs = 200;
/** No server's wish keeps us away for longer. */
const maxRetryAfterMs = 120_000;
/** The API server ends a watch after this and up to twice as long, spread so that not all end at once. */
const watchSeconds = 300;
/** A watch that was open as long proves that the connection works. */
const goodWatchMs = 5_000;
/** Those that are hastened come spread over this, and each not more often than in twice of it. */
const hastenWithinMs = 500;

export class KindWatch {
  readonly #options: KindWatchOptions;
  readonly #receiver: KindWatchReceiver;
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  readonly #random: () => number;
  /** Where to go on; undefined: list first. */
  #resourceVersion: string | undefined;
  #state: WatchState = { synced: false };
  /** Monotonic ms at which the watch under way was accepted. */
  #openedAt: number | undefined;
  /** Cuts the list or watch under way short. */
  #current = new AbortController();
  /** Cuts the wait for the next attempt short; undefined where the API server said how long to wait. */
  #waiting: AbortController | undefined;
  #hastenedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(options: KindWatchOptions, receiver: KindWatchReceiver) {
    this.#options = options;
    this.#receiver = receiver;
    this.#random = options.random ?? Math.random;
    const { maxDelayMs = 5_000 } = options;
    this.#backoff = new Backoff({ minMs: minDelayMs, maxMs: maxDelayMs, jitter: 0.5, random: this.#random });
  }

  get state(): WatchState {
    return this.#state;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Starts again with a new list, for a kind whose definition changed: a watch that runs shows it the old way. */
  relist(): void {
    this.#resourceVersion = undefined;
    this.#current.abort();
  }

  /**
   * The API server answers others again: ends a wait of our own choosing soon. The wait after that is as long as it
   * would have been, so that hastening in vain makes no storm.
   */
  hasten(): void {
    const now = this.#options.clock.monotonic();
    if (now - this.#hastenedAt < 2 * hastenWithinMs) return;
    this.#hastenedAt = now;
    this.#waiting?.abort();
  }

  /** No call of the receiver afterwards. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#closed) {
      this.#openedAt = undefined;
      const failure = await this.#step();
      if (this.#closed) return;
      // However it ended: what ends a good watch says nothing about the next.
      const openedAt = this.#openedAt as number | undefined;
      if (openedAt !== undefined && clock.monotonic() - openedAt >= goodWatchMs) this.#backoff.reset();
      await this.#delay(failure);
    }
  }

  /** List if needed, then one watch. Undefined if it ended as it should. */
  async #step(): Promise<KubeError | undefined> {
    const current = new AbortController();
    this.#current = current;
    const signal = AbortSignal.any([this.#closing.signal, current.signal]);
    try {
      this.#resourceVersion ??= await this.#list(signal);
      await this.#watch(this.#resourceVersion, signal);
      return undefined;
    } catch (error) {
      if (this.#closed || current.signal.aborted) return undefined;
      const failure =
        error instanceof KubeError
          ? error
          : new KubeError('GARBAGE', `Watch failed: ${String(error)}`, { cause: error });
      this.#onFailure(failure);
      return failure;
    }
  }

  #onFailure(failure: KubeError): void {
    // Anything else says nothing about what we know: go on from there.
    if (failure.code === 'GONE' || failure.code === 'GARBAGE') this.#resourceVersion = undefined;
    if (failure.code === 'NOT_FOUND') {
      this.#resourceVersion = undefined;
      this.#receiver.onNotServed();
      if (this.#closed) return;
    }
    // Part of a watch's life, not worth a word: too old, fell silent, ended.
    if (failure.code !== 'GONE' && failure.code !== 'STALLED')
      this.#report({ synced: this.#state.synced, failure });
  }

  #report(state: WatchState): void {
    const same =
      this.#state.synced === state.synced && this.#state.failure?.message === state.failure?.message;
    this.#state = state;
    if (!same) this.#receiver.onState(state);
  }

  async #list(signal: AbortSignal): Promise<string> {
    const list = this.#receiver.beginList();
    let token = '';
    for (;;) {
      const page = parseList(await this.#page(token, signal));
      for (const object of page.items) list.add(object);
      signal.throwIfAborted();
      if (page.next === '') {
        list.commit();
        this.#report({ synced: true });
        return page.resourceVersion;
      }
      token = page.next;
    }
  }

  async #page(token: string, signal: AbortSignal): Promise<unknown> {
    const { client, path, metadataOnly = false, pageSize = 500 } = this.#options;
    const query = new URLSearchParams({ limit: String(pageSize), ...this.#selector() });
    if (token !== '') query.set('continue', token);
    return await client.request({
      path: `${path}?${query}`,
      accept: metadataOnly ? metadataType('PartialObjectMetadataList') : 'application/json',
      signal,
      timeoutMs: 60_000,
    });
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { client, path, metadataOnly = false, stallMs = 150_000 } = this.#options;
    const timeoutSeconds = Math.round(watchSeconds * (1 + this.#random()));
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(timeoutSeconds),
      ...this.#selector(),
    });
    await client.watch({
      path: `${path}?${query}`,
      accept: metadataOnly ? metadataType('PartialObjectMetadata') : 'application/json',
      signal,
      stallMs,
      onOpen: () => {
        this.#openedAt = this.#options.clock.monotonic();
        this.#report({ synced: true });
      },
      onEvent: (event) => {
        if (!signal.aborted) this.#onEvent(event);
      },
    });
  }

  #onEvent(event: unknown): void {
    const { type, object } = parseEvent(event);
    if (type === 'ERROR') throw eventError(object);
    const version = object.metadata.resourceVersion;
    if (type === 'DELETED') this.#receiver.onDeleted(object);
    else if (type !== 'BOOKMARK') this.#receiver.onChanged(object);
    if (version !== undefined && version !== '') this.#resourceVersion = version;
  }

  #selector(): Record<string, string> {
    const { fieldSelector } = this.#options;
    return fieldSelector === undefined ? {} : { fieldSelector };
  }

  async #delay(failure: KubeError | undefined): Promise<void> {
    const { clock } = this.#options;
    const backoffMs = this.#backoff.next();
    const wishMs = Math.min(maxRetryAfterMs, failure?.retryAfterMs ?? 0);
    if (wishMs > 0) return await waitFor(clock, Math.max(backoffMs, wishMs), this.#closing.signal);
    const waiting = new AbortController();
    this.#waiting = waiting;
    await waitFor(clock, backoffMs, AbortSignal.any([this.#closing.signal, waiting.signal]));
    this.#waiting = undefined;
    if (waiting.signal.aborted) await waitFor(clock, this.#random() * hastenWithinMs, this.#closing.signal);
  }
}

function metadataType(as: string): string {
  return `application/json;as=${as};g=meta.k8s.io;v=v1`;
}

interface Page {
  readonly items: readonly RawObject[];
  readonly next: string;
  readonly resourceVersion: string;
}

function parseList(answer: unknown): Page {
  const { items, metadata } = (answer ?? {}) as {
    items?: unknown;
    metadata?: { resourceVersion?: unknown; continue?: unknown };
  };
  const version = metadata?.resourceVersion;
  if (typeof version !== 'string' || !(Array.isArray(items) || items === null || items === undefined)) {
    throw new KubeError('GARBAGE', 'Kubernetes API answered a list with something that is none');
  }
  const next = typeof metadata?.continue === 'string' ? metadata.continue : '';
  return { items: (items ?? []).filter(isObject), next, resourceVersion: version };
}

const eventTypes = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'] as const;
type EventType = (typeof eventTypes)[number];

function parseEvent(event: unknown): { type: EventType; object: RawObject } {
  const { type, object } = (event ?? {}) as { type?: unknown; object?: unknown };
  const known = eventTypes.find((name) => name === type);
  if (known === 'ERROR') return { type: known, object: object as RawObject };
  const usable = known === 'BOOKMARK' ? hasMetadata(object) : isObject(object);
  if (known === undefined || !usable) {
    throw new KubeError(
      'GARBAGE',
      `Kubernetes API sent an event of type "${String(type)}" that makes no sense`,
    );
  }
  return { type: known, object: object as RawObject };
}

function hasMetadata(value: unknown): boolean {
  const metadata = (value as { metadata?: unknown } | null | undefined)?.metadata;
  return typeof metadata === 'object' && metadata !== null;
}

function isObject(value: unknown): value is RawObject {
  return hasMetadata(value) && typeof (value as RawObject).metadata.name === 'string';
}

function eventError(status: unknown): KubeError {
  const { code, message } = (status ?? {}) as { code?: unknown; message?: unknown };
  const number = typeof code === 'number' ? code : 500;
  return KubeError.ofStatus(number, {
    request: 'a watch',
    message: typeof message === 'string' ? message : 'no reason given',
  });
}
