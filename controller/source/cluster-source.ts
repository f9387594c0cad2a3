// A Kubernetes cluster as a live source of resources: one watch for each kind that is served, and a look at what is
// served whenever a definition comes or goes. What was known stays in force while the API server is away, refuses or
// talks nonsense; absence counts only when the API server itself says so. The handler hears of changes in one go.

import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import { Backoff } from '../../mesh/runtime/backoff.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { discoverKinds, type ServedKind, type WantedKind } from '../kubernetes/api-discovery.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KindWatch, type KindWatchOptions, type WatchState } from '../kubernetes/kind-watch.ts';
import type { KubeError } from '../kubernetes/kube-error.ts';
import { waitFor } from '../kubernetes/wait.ts';
import { metadataOnlySchema } from '../resources/core-kinds.ts';
import { gatewayGroup } from '../resources/gateway-kinds.ts';
import {
  groupOf,
  ownApiVersion,
  type ResourceKind,
  resourceKinds,
  versionsOf,
} from '../resources/resource-kind.ts';
import {
  emptyMaps,
  type KindName,
  type ObjectReference,
  objectKey,
  type ObjectKey,
  type Resources,
} from '../resources/resources.ts';
import { clusterPlace, KindObjects, type LiveStatus } from './kind-objects.ts';
import type { Problem } from './problem.ts';
import type { ResourceSource, ResourcesHandler } from './resource-source.ts';

export interface ClusterSourceOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For tests: smaller pages, shorter waits. */
  readonly watch?: Pick<KindWatchOptions, 'pageSize' | 'stallMs' | 'maxDelayMs' | 'random'>;
}

export interface ClusterHandler extends ResourcesHandler {
  /** The status of an object of ours changed, and nothing else of it. */
  onLive?(reference: ObjectReference): void;
}

/** How one kind's watch stands, for the admin page and metrics. */
export interface WatchReport {
  readonly kind: KindName;
  readonly apiVersion: string;
  readonly objects: number;
  readonly synced: boolean;
  readonly failure?: string;
}

/** WIRE: changes this close together are one push. */
const debounceMs = 25;
/** A cluster that never rests is published at least this often. */
const maxDelayMs = 250;
/** A definition is served some moments after it was established. */
const rediscoverMs = [200, 1_000, 4_000, 15_000];
const settleMs = 50;
/** A watch that was open when a definition changed goes on in the old schema; a new one has the new schema after this. */
const redefinedMs = 2_000;
/** In case no watch of definitions is granted. */
const discoverEveryMs = 60_000;
/** Shorter failures are part of an API server's life. */
const problemAfterMs = 10_000;
const definitionsPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

interface Watched {
  readonly served: ServedKind;
  readonly watch: KindWatch;
  failingSince: number | undefined;
}

export class ClusterSource implements ResourceSource {
  readonly #options: ClusterSourceOptions;
  readonly #handler: ClusterHandler;
  readonly #closing = new AbortController();
  readonly #objects = new Map<KindName, KindObjects>();
  readonly #watched = new Map<KindName, Watched>();
  /** Watches that are on their way out. */
  readonly #ending = new Set<Promise<void>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #definitions: KindWatch;
  #discovered = false;
  #started = false;
  #discovering: Promise<void> | undefined;
  #attempt = 0;
  #wake = new AbortController();
  #debounce: Timer | undefined;
  #dirtySince: number | undefined;
  readonly #timers = new Set<Timer>();
  readonly #definitionGenerations = new Map<string, number>();
  #unreachable = false;

  constructor(options: ClusterSourceOptions, handler: ClusterHandler) {
    this.#options = options;
    this.#handler = handler;
    const { client, clock, watch = {} } = options;
    this.#definitions = new KindWatch(
      { client, clock, path: definitionsPath, metadataOnly: true, ...watch },
      {
        beginList: () => ({
          add: ({ metadata }) => this.#onDefinition(metadata),
          commit: () => this.#rediscover(),
        }),
        onChanged: ({ metadata }) => this.#onDefinition(metadata),
        onDeleted: ({ metadata }) => this.#onDefinition({ name: metadata.name }),
        onNotServed: () => {},
        onState: ({ failure }) => this.#onDefinitionsState(failure),
      },
    );
  }

  /** Resolves when every kind that is served was read completely; waits for an API server that is away. */
  async start(): Promise<void> {
    this.#definitions.start();
    this.#discovering = this.#keepDiscovering();
    await this.#synced.promise;
    if (this.#closed) return;
    this.#started = true;
    this.#publish();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#synced.resolve();
    this.#debounce?.cancel();
    for (const timer of this.#timers) timer.cancel();
    const watches = [...this.#watched.values()].map(({ watch }) => watch.close());
    await Promise.all([this.#definitions.close(), ...watches, ...this.#ending, this.#discovering]);
  }

  /** The status an object has in the cluster; undefined if the object is not there or has none to write. */
  live(reference: ObjectReference): LiveStatus | undefined {
    const key = objectKey(reference.namespace, reference.name);
    return this.#objects.get(reference.kind)?.live(key);
  }

  /** Which object a reference means now; undefined if it is not there. */
  identify(reference: ObjectReference): { readonly uid: string; readonly apiVersion: string } | undefined {
    const uid = this.#objects.get(reference.kind)?.uid(objectKey(reference.namespace, reference.name)) ?? '';
    const apiVersion = this.served(reference.kind)?.apiVersion;
    return uid === '' || apiVersion === undefined ? undefined : { uid, apiVersion };
  }

  /** Where objects of a kind are; undefined while it is not served. */
  served(kind: KindName): ServedKind | undefined {
    return this.#watched.get(kind)?.served;
  }

  watches(): readonly WatchReport[] {
    return [...this.#watched].map(([kind, { served, watch }]) => ({
      kind,
      apiVersion: served.apiVersion,
      objects: this.#objects.get(kind)?.objects.size ?? 0,
      synced: watch.state.synced,
      ...(watch.state.failure === undefined ? {} : { failure: watch.state.failure.message }),
    }));
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  // --- what is served ---

  #onDefinition({ name, generation }: { readonly name: string; readonly generation?: number }): void {
    if (!wantedKinds.some(({ group }) => group !== '' && name.endsWith(`.${group}`))) return;
    this.#rediscover();
    const before = this.#definitionGenerations.get(name);
    if (generation === undefined) this.#definitionGenerations.delete(name);
    else this.#definitionGenerations.set(name, generation);
    if (before === undefined || generation === undefined || before === generation) return;
    const timer = this.#options.clock.after(
      redefinedMs,
      () => {
        this.#timers.delete(timer);
        for (const { served, watch } of this.#watched.values()) {
          if (name === `${served.resource}.${groupOf(served.apiVersion)}`) watch.relist();
        }
      },
      { unref: true },
    );
    this.#timers.add(timer);
  }

  #onDefinitionsState(failure: KubeError | undefined): void {
    if (failure?.code !== 'FORBIDDEN') return;
    const { logger } = this.#options;
    logger.warn({ reason: failure.message }, 'cannot watch definitions, new kinds are found within a minute');
  }

  /** Looks soon, and again some times, because what was just defined is served only moments later. */
  #rediscover(): void {
    this.#attempt = 0;
    this.#wake.abort();
  }

  async #keepDiscovering(): Promise<void> {
    const { client, clock } = this.#options;
    const backoff = new Backoff({ minMs: 200, maxMs: 10_000, jitter: 0.5 });
    while (!this.#closed) {
      this.#wake = new AbortController();
      const delayMs = rediscoverMs[this.#attempt++] ?? discoverEveryMs;
      try {
        const served = await discoverKinds(client, wantedKinds, this.#closing.signal);
        if (this.#closed) return;
        this.#reportReachable();
        this.#follow(served);
        backoff.reset();
        await waitFor(clock, delayMs, AbortSignal.any([this.#closing.signal, this.#wake.signal]));
        // Definitions are applied several at a time.
        if (this.#wake.signal.aborted) await waitFor(clock, settleMs, this.#closing.signal);
      } catch (error) {
        if (this.#closed) return;
        this.#reportUnreachable(error);
        await waitFor(clock, backoff.next(), this.#closing.signal);
      }
    }
  }

  #follow(served: ReadonlyMap<string, ServedKind>): void {
    this.#discovered = true;
    for (const kind of resourceKinds.values()) {
      const now = served.get(kind.kind);
      const before = this.#watched.get(kind.kind);
      if (now?.path === before?.served.path) continue;
      if (before !== undefined) this.#unwatch(kind.kind, before);
      if (now !== undefined) this.#watch(kind, now);
      else if (this.#objects.delete(kind.kind)) this.#schedule();
      if (this.#started) {
        const fields = { kind: kind.kind, apiVersion: now?.apiVersion };
        this.#options.logger.info(
          fields,
          now === undefined ? 'kind is no longer served' : 'kind is served now',
        );
      }
    }
    this.#checkSynced();
  }

  #watch(kind: ResourceKind, served: ServedKind): void {
    const { client, clock, watch: tuning = {} } = this.#options;
    let objects = this.#objects.get(kind.kind);
    if (objects === undefined) {
      objects = new KindObjects(kind, { keepStatus: hasStatus(kind) });
      this.#objects.set(kind.kind, objects);
    }
    const store = objects;
    const options: KindWatchOptions = { client, clock, path: served.path, ...watchOptions(kind), ...tuning };
    const watch = new KindWatch(options, {
      beginList: () => {
        const list = store.beginList();
        const commit = (): void => {
          list.commit();
          this.#schedule();
        };
        return { add: (object) => list.add(object), commit };
      },
      onChanged: (object) => {
        if (store.put(object)) this.#schedule();
        else if (hasStatus(kind)) this.#reportLive(kind.kind, object.metadata);
      },
      onDeleted: (object) => {
        store.delete(object);
        this.#schedule();
      },
      onNotServed: () => this.#rediscover(),
      onState: (state) => this.#onState(kind.kind, watched, state),
    });
    const watched: Watched = { served, watch, failingSince: undefined };
    this.#watched.set(kind.kind, watched);
    watch.start();
  }

  #reportLive(kind: KindName, { namespace = '', name }: { namespace?: string; name: string }): void {
    if (this.#started) this.#handler.onLive?.({ kind, namespace, name });
  }

  #unwatch(kind: KindName, { watch }: Watched): void {
    this.#watched.delete(kind);
    const ending: Promise<void> = watch.close().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  // --- how the watches stand ---

  #onState(kind: KindName, watched: Watched, { synced, failure }: WatchState): void {
    const { clock, logger } = this.#options;
    const wasFailing = watched.failingSince !== undefined;
    if (failure === undefined) {
      watched.failingSince = undefined;
      this.#reportReachable();
      if (wasFailing) {
        logger.info({ kind }, 'watch works again');
        this.#schedule();
      }
      if (synced) this.#checkSynced();
      return;
    }
    watched.failingSince ??= clock.monotonic();
    if (isOutage(failure)) this.#reportUnreachable(failure);
    else
      logger.warn(
        { kind, code: failure.code, reason: failure.message },
        'watch fails, what is known stays in force',
      );
    if (wasFailing) return;
    const timer = clock.after(
      problemAfterMs,
      () => {
        this.#timers.delete(timer);
        this.#schedule();
      },
      { unref: true },
    );
    this.#timers.add(timer);
  }

  /** One line for an outage, not one a kind. */
  #reportUnreachable(error: unknown): void {
    if (this.#unreachable) return;
    this.#unreachable = true;
    const reason = error instanceof Error ? error.message : String(error);
    const { client, logger } = this.#options;
    logger.error(
      { server: client.server, reason },
      'Kubernetes API does not answer, what is known stays in force',
    );
  }

  #reportReachable(): void {
    if (!this.#unreachable) return;
    const failures = [...this.#watched.values()].map(({ watch }) => watch.state.failure);
    if (failures.some((failure) => failure !== undefined && isOutage(failure))) return;
    this.#unreachable = false;
    this.#options.logger.info({ server: this.#options.client.server }, 'Kubernetes API answers again');
  }

  #checkSynced(): void {
    if (this.#started || !this.#discovered) return;
    if ([...this.#watched.values()].every(({ watch }) => watch.state.synced)) this.#synced.resolve();
  }

  // --- publishing ---

  #schedule(): void {
    if (this.#closed || !this.#started) return;
    const now = this.#options.clock.monotonic();
    this.#dirtySince ??= now;
    this.#debounce?.cancel();
    const delayMs = Math.max(0, Math.min(debounceMs, this.#dirtySince + maxDelayMs - now));
    this.#debounce = this.#options.clock.after(delayMs, () => this.#publish());
  }

  #publish(): void {
    this.#dirtySince = undefined;
    try {
      this.#handler.onResources(this.#resources(), this.#problems());
    } catch (err) {
      // A fault of ours, not of the objects: what is in force stays, and the next change is tried again.
      this.#options.logger.error({ err }, 'applying the resources failed, keeping what is in force');
    }
  }

  #resources(): Resources {
    const maps = emptyMaps() as Record<KindName, ReadonlyMap<ObjectKey, unknown>>;
    for (const [kind, store] of this.#objects) maps[kind] = store.objects;
    return maps as Resources;
  }

  #problems(): readonly Problem[] {
    const now = this.#options.clock.monotonic();
    const problems = [...this.#objects.values()].flatMap((objects) => objects.problems);
    for (const [kind, { watch, failingSince }] of this.#watched) {
      const { failure } = watch.state;
      if (failure === undefined || failingSince === undefined || now - failingSince < problemAfterMs)
        continue;
      const message = `Watch of ${kind} fails: ${failure.message}; what is known stays in force`;
      problems.push({ file: clusterPlace, line: 0, column: 0, message, severity: 'error' });
    }
    return problems;
  }
}

/** Kinds that this controller writes statuses of. */
function hasStatus({ kind, apiVersion }: ResourceKind): boolean {
  return apiVersion === ownApiVersion || (groupOf(apiVersion) === gatewayGroup && kind !== 'ReferenceGrant');
}

const wantedKinds: readonly WantedKind[] = [...resourceKinds.values()].map((kind) => ({
  kind: kind.kind,
  group: groupOf(kind.apiVersion),
  versions: versionsOf(kind),
}));

function watchOptions({
  kind,
  schema,
}: ResourceKind): Pick<KindWatchOptions, 'metadataOnly' | 'fieldSelector'> {
  if (schema === metadataOnlySchema) return { metadataOnly: true };
  // A pod that ended is no workload and its address may be another's by now.
  return kind === 'Pod' ? { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' } : {};
}

function isOutage({ code }: KubeError): boolean {
  return code === 'UNREACHABLE' || code === 'SERVER' || code === 'THROTTLED';
}
