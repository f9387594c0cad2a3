// A Kubernetes cluster as a live source of resources: one watch for each kind that is served, and a look at what is
// served whenever a definition comes or goes. What was known stays in force while the API server is away, refuses or
// talks nonsense; absence counts only when the API server itself says so. The handler hears of changes in one go.

import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { ServedKind, WantedKind } from '../kubernetes/api-discovery.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KindWatch, type KindWatchOptions } from '../kubernetes/kind-watch.ts';
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
import { keepCapturedCondition } from '../nodes/live-condition.ts';
import {
  type KeepStatus,
  keepNoStatus,
  KindObjects,
  keepWholeStatus,
  type LiveStatus,
} from './kind-objects.ts';
import type { Problem } from './problem.ts';
import type { ResourceSource, ResourcesHandler } from './resource-source.ts';
import { isDefinitionOf, ServedKinds } from './served-kinds.ts';
import { WatchHealth } from './watch-health.ts';

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

interface Watched {
  readonly served: ServedKind;
  readonly watch: KindWatch;
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
  readonly #servedKinds: ServedKinds;
  readonly #health: WatchHealth;
  #discovered = false;
  #started = false;
  #debounce: Timer | undefined;
  #dirtySince: number | undefined;

  constructor(options: ClusterSourceOptions, handler: ClusterHandler) {
    this.#options = options;
    this.#handler = handler;
    const { client, clock, logger } = options;
    this.#health = new WatchHealth({
      server: client.server,
      clock,
      logger,
      onProblems: () => this.#schedule(),
      onAnswersAgain: () => this.#hasten(),
    });
    this.#servedKinds = new ServedKinds(
      { ...options, wanted: wantedKinds },
      {
        onServed: (served) => this.#onServed(served),
        onRedefined: (definition) => this.#onRedefined(definition),
        onUnreachable: (error) => this.#health.reportUnreachable(error),
      },
    );
  }

  /** Resolves when every kind that is served was read completely; waits for an API server that is away. */
  async start(): Promise<void> {
    this.#servedKinds.start();
    await this.#synced.promise;
    if (this.#closed) return;
    this.#started = true;
    this.#publish();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#synced.resolve();
    this.#debounce?.cancel();
    this.#health.close();
    const watches = [...this.#watched.values()].map(({ watch }) => watch.close());
    await Promise.all([this.#servedKinds.close(), ...watches, ...this.#ending]);
  }

  /** The status an object has in the cluster; undefined if the object is not there or has none to write. */
  live(reference: ObjectReference): LiveStatus | undefined {
    return this.liveByKey(reference.kind, objectKey(reference.namespace, reference.name));
  }

  /** As live(), by the key of the object. */
  liveByKey(kind: KindName, key: ObjectKey): LiveStatus | undefined {
    return this.#objects.get(kind)?.live(key);
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

  #onServed(served: ReadonlyMap<string, ServedKind>): void {
    this.#health.reportReachable();
    this.#follow(served);
  }

  #onRedefined(definition: string): void {
    for (const { served, watch } of this.#watched.values()) {
      if (isDefinitionOf(definition, served)) watch.relist();
    }
  }

  /** Those that still wait for an API server that answers another. */
  #hasten(): void {
    for (const { watch } of this.#watched.values()) watch.hasten();
    this.#servedKinds.hasten();
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
      objects = new KindObjects(kind, { keepStatus: keptOf(kind) });
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
        else if (keptOf(kind) !== keepNoStatus) this.#reportLive(kind.kind, object.metadata);
      },
      onDeleted: (object) => {
        store.delete(object);
        this.#schedule();
      },
      onNotServed: () => this.#servedKinds.look(),
      onState: (state) => {
        this.#health.onState(kind.kind, state);
        if (state.synced) this.#checkSynced();
      },
    });
    this.#watched.set(kind.kind, { served, watch });
    watch.start();
  }

  #reportLive(kind: KindName, { namespace = '', name }: { namespace?: string; name: string }): void {
    if (this.#started) this.#handler.onLive?.({ kind, namespace, name });
  }

  #unwatch(kind: KindName, { watch }: Watched): void {
    this.#watched.delete(kind);
    this.#health.forget(kind);
    const ending: Promise<void> = watch.close().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
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
    const ofObjects = [...this.#objects.values()].flatMap((objects) => objects.problems);
    return [...ofObjects, ...this.#health.problems()];
  }
}

/** Of kinds that this controller writes statuses of; of a pod it writes one condition. */
function keptOf({ kind, apiVersion }: ResourceKind): KeepStatus {
  if (kind === 'Pod') return keepCapturedCondition;
  const written =
    apiVersion === ownApiVersion || (groupOf(apiVersion) === gatewayGroup && kind !== 'ReferenceGrant');
  return written ? keepWholeStatus : keepNoStatus;
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
