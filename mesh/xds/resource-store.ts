// What a controller serves: resources by type and name, indexed by alias and group. One writer; readers see a change
// at once, listeners hear of it after a quiet moment, so that a burst of changes is one push. Content decides:
// storing a resource with the version it already has is no change.

import type { Clock, Timer } from '../runtime/clock.ts';
import type { EncodedResource } from './resource.ts';

export interface StoredResource extends EncodedResource {
  /** The only node or waypoint that may see it (Caller.node); undefined for everybody. */
  readonly owner?: string;
}

export interface ResourceChange {
  /** Grows with every change of the store. */
  readonly generation: number;
  /** Owners before and after; undefined when everybody may know of the change. */
  readonly audience: ReadonlySet<string> | undefined;
  /** Its name, and its aliases and groups before and after: what it may have been asked for by. */
  readonly related: ReadonlySet<string>;
}

/** Changed names by type. */
export type StoreChanges = ReadonlyMap<string, ReadonlyMap<string, ResourceChange>>;

export interface ResourceStoreOptions {
  readonly clock: Clock;
  /** A push waits until nothing changed for this long, in ms; default 25. */
  readonly quietMs?: number;
  /** A push waits at most this long after the first change, in ms; default 250. */
  readonly maxDelayMs?: number;
}

interface TypeIndex {
  readonly byName: Map<string, StoredResource>;
  readonly byAlias: Map<string, Set<string>>;
  readonly byGroup: Map<string, Set<string>>;
}

export class ResourceStore {
  readonly #clock: Clock;
  readonly #quietMs: number;
  readonly #maxDelayMs: number;
  readonly #types = new Map<string, TypeIndex>();
  readonly #listeners = new Set<(changes: StoreChanges) => void>();
  #changes = new Map<string, Map<string, ResourceChange>>();
  #generation = 0;
  #flushBy = 0;
  #timer: Timer | undefined;

  constructor({ clock, quietMs = 25, maxDelayMs = 250 }: ResourceStoreOptions) {
    this.#clock = clock;
    this.#quietMs = quietMs;
    this.#maxDelayMs = maxDelayMs;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Replaces all resources of a type. */
  set(typeUrl: string, resources: Iterable<StoredResource>): void {
    const wanted = new Map<string, StoredResource>();
    for (const resource of resources) wanted.set(resource.name, resource);
    const removed = [...this.entries(typeUrl)]
      .filter(({ name }) => !wanted.has(name))
      .map(({ name }) => name);
    this.apply(typeUrl, { upserted: [...wanted.values()], removed });
  }

  apply(
    typeUrl: string,
    { upserted = [], removed = [] }: { upserted?: readonly StoredResource[]; removed?: readonly string[] },
  ): void {
    const index = this.#indexOf(typeUrl);
    for (const name of removed) this.#replace(typeUrl, index, { name, next: undefined });
    for (const next of upserted) this.#replace(typeUrl, index, { name: next.name, next });
    if (this.#changes.size > 0) this.#schedule();
  }

  get(typeUrl: string, name: string): StoredResource | undefined {
    return this.#types.get(typeUrl)?.byName.get(name);
  }

  /** Resources that have this alias, in the order of their names. */
  byAlias(typeUrl: string, alias: string): StoredResource[] {
    return this.#lookUp(typeUrl, this.#types.get(typeUrl)?.byAlias.get(alias));
  }

  /** Resources that belong to the resource of this name. */
  byGroup(typeUrl: string, group: string): StoredResource[] {
    return this.#lookUp(typeUrl, this.#types.get(typeUrl)?.byGroup.get(group));
  }

  entries(typeUrl: string): Iterable<StoredResource> {
    return this.#types.get(typeUrl)?.byName.values() ?? [];
  }

  /** Hears of every change once it has settled; returns the way to stop. */
  subscribe(listener: (changes: StoreChanges) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells the listeners now instead of after the quiet time. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const changes = this.#changes;
    if (changes.size === 0) return;
    this.#changes = new Map();
    for (const listener of this.#listeners) listener(changes);
  }

  #lookUp(typeUrl: string, names: ReadonlySet<string> | undefined): StoredResource[] {
    if (names === undefined) return [];
    return [...names].sort().flatMap((name) => this.get(typeUrl, name) ?? []);
  }

  #indexOf(typeUrl: string): TypeIndex {
    let index = this.#types.get(typeUrl);
    if (index === undefined) {
      index = { byName: new Map(), byAlias: new Map(), byGroup: new Map() };
      this.#types.set(typeUrl, index);
    }
    return index;
  }

  #replace(
    typeUrl: string,
    index: TypeIndex,
    { name, next }: { name: string; next: StoredResource | undefined },
  ): void {
    const previous = index.byName.get(name);
    if (previous?.version === next?.version && previous?.owner === next?.owner) return;
    if (previous !== undefined) unindex(index, previous);
    if (next === undefined) index.byName.delete(name);
    else {
      index.byName.set(name, next);
      for (const alias of next.aliases) addTo(index.byAlias, alias, name);
      for (const group of next.groups) addTo(index.byGroup, group, name);
    }
    this.#record(typeUrl, name, [previous, next]);
  }

  #record(typeUrl: string, name: string, states: readonly (StoredResource | undefined)[]): void {
    let changes = this.#changes.get(typeUrl);
    if (changes === undefined) {
      changes = new Map();
      this.#changes.set(typeUrl, changes);
    }
    const earlier = changes.get(name);
    this.#generation += 1;
    const related = new Set(earlier?.related ?? [name]);
    for (const state of states) {
      for (const alias of state?.aliases ?? []) related.add(alias);
      for (const group of state?.groups ?? []) related.add(group);
    }
    changes.set(name, { generation: this.#generation, audience: audienceOf(states, earlier), related });
  }

  #schedule(): void {
    const now = this.#clock.monotonic();
    if (this.#timer === undefined) this.#flushBy = now + this.#maxDelayMs;
    this.#timer?.cancel();
    const delayMs = Math.max(0, Math.min(this.#quietMs, this.#flushBy - now));
    this.#timer = this.#clock.after(delayMs, () => this.flush(), { unref: true });
  }
}

/** Everybody, as soon as one of the states was for everybody. */
function audienceOf(
  states: readonly (StoredResource | undefined)[],
  earlier: ResourceChange | undefined,
): ReadonlySet<string> | undefined {
  if (earlier !== undefined && earlier.audience === undefined) return undefined;
  const audience = new Set(earlier?.audience);
  for (const state of states) {
    if (state === undefined) continue;
    if (state.owner === undefined) return undefined;
    audience.add(state.owner);
  }
  return audience;
}

function unindex(index: TypeIndex, { name, aliases, groups }: StoredResource): void {
  for (const alias of aliases) deleteFrom(index.byAlias, alias, name);
  for (const group of groups) deleteFrom(index.byGroup, group, name);
}

function addTo(map: Map<string, Set<string>>, key: string, name: string): void {
  const names = map.get(key);
  if (names === undefined) map.set(key, new Set([name]));
  else names.add(name);
}

function deleteFrom(map: Map<string, Set<string>>, key: string, name: string): void {
  const names = map.get(key);
  names?.delete(name);
  if (names?.size === 0) map.delete(key);
}
