// Which of the wanted kinds a cluster serves, kept up to date: asked again soon and several times whenever a definition
// comes or goes, because what was just defined is served only moments later. An API server that is away changes
// nothing; what is served counts only when it says so itself.

import { Backoff } from '../../mesh/runtime/backoff.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { discoverKinds, type ServedKind, type WantedKind } from '../kubernetes/api-discovery.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KindWatch, type KindWatchOptions, type WatchState } from '../kubernetes/kind-watch.ts';
import { waitFor } from '../kubernetes/wait.ts';
import { groupOf } from '../resources/resource-kind.ts';

export interface ServedKindsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly wanted: readonly WantedKind[];
  readonly watch?: Pick<KindWatchOptions, 'pageSize' | 'stallMs' | 'maxDelayMs' | 'random'>;
}

export interface ServedKindsHandler {
  /** By kind: all that is served now; called after each look. */
  onServed(served: ReadonlyMap<string, ServedKind>): void;
  /** The definition with this name (`PLURAL.GROUP`) changed, and counts by now. */
  onRedefined(definition: string): void;
  /** The API server did not say what it serves. */
  onUnreachable(error: unknown): void;
}

/** A definition is served some moments after it was established. */
const rediscoverMs = [200, 1_000, 4_000, 15_000];
const settleMs = 50;
/** A watch that was open when a definition changed goes on in the old schema; a new one has the new schema after this. */
const redefinedMs = 2_000;
/** In case no watch of definitions is granted. */
const discoverEveryMs = 60_000;
const maxBackoffMs = 5_000;
const definitionsPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

export class ServedKinds {
  readonly #options: ServedKindsOptions;
  readonly #handler: ServedKindsHandler;
  readonly #closing = new AbortController();
  readonly #definitions: KindWatch;
  readonly #generations = new Map<string, number>();
  readonly #timers = new Set<Timer>();
  #attempt = 0;
  #wake = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: ServedKindsOptions, handler: ServedKindsHandler) {
    this.#options = options;
    this.#handler = handler;
    const { client, clock, watch = {} } = options;
    this.#definitions = new KindWatch(
      { client, clock, path: definitionsPath, metadataOnly: true, ...watch },
      {
        beginList: () => ({
          add: ({ metadata }) => this.#onDefinition(metadata),
          commit: () => this.look(),
        }),
        onChanged: ({ metadata }) => this.#onDefinition(metadata),
        onDeleted: ({ metadata }) => this.#onDefinition({ name: metadata.name }),
        onNotServed: () => {},
        onState: (state) => this.#onState(state),
      },
    );
  }

  start(): void {
    this.#definitions.start();
    this.#running ??= this.#run();
  }

  /** Looks soon, and again some times. */
  look(): void {
    this.#attempt = 0;
    this.#wake.abort();
  }

  /** The API server answers others again: the watch of definitions need not wait any longer. */
  hasten(): void {
    this.#definitions.hasten();
  }

  /** No call of the handler afterwards. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers) timer.cancel();
    await Promise.all([this.#definitions.close(), this.#running]);
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #onDefinition({ name, generation }: { readonly name: string; readonly generation?: number }): void {
    if (!this.#options.wanted.some(({ group }) => group !== '' && name.endsWith(`.${group}`))) return;
    this.look();
    const before = this.#generations.get(name);
    if (generation === undefined) this.#generations.delete(name);
    else this.#generations.set(name, generation);
    if (before === undefined || generation === undefined || before === generation) return;
    const timer = this.#options.clock.after(
      redefinedMs,
      () => {
        this.#timers.delete(timer);
        this.#handler.onRedefined(name);
      },
      { unref: true },
    );
    this.#timers.add(timer);
  }

  #onState({ failure }: WatchState): void {
    if (failure?.code !== 'FORBIDDEN') return;
    const { logger } = this.#options;
    logger.warn({ reason: failure.message }, 'cannot watch definitions, new kinds are found within a minute');
  }

  async #run(): Promise<void> {
    const { client, clock, wanted, watch = {} } = this.#options;
    const { random = Math.random } = watch;
    const backoff = new Backoff({ minMs: 200, maxMs: maxBackoffMs, jitter: 0.5, random });
    while (!this.#closed) {
      this.#wake = new AbortController();
      const delayMs = rediscoverMs[this.#attempt++] ?? discoverEveryMs;
      try {
        const served = await discoverKinds(client, wanted, this.#closing.signal);
        if (this.#closed) return;
        this.#handler.onServed(served);
        backoff.reset();
        await waitFor(clock, delayMs, AbortSignal.any([this.#closing.signal, this.#wake.signal]));
        // Definitions are applied several at a time.
        if (this.#wake.signal.aborted) await waitFor(clock, settleMs, this.#closing.signal);
      } catch (error) {
        if (this.#closed) return;
        this.#handler.onUnreachable(error);
        await waitFor(clock, backoff.next(), this.#closing.signal);
      }
    }
  }
}

/** Whether a definition's name is that of a kind that is served. */
export function isDefinitionOf(definition: string, { resource, apiVersion }: ServedKind): boolean {
  return definition === `${resource}.${groupOf(apiVersion)}`;
}
