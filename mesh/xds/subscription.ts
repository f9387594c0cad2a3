// What one stream wants of one resource type, and what of it must still be told. Holds names only: a response is
// computed from the store when the stream can take one, so a slow stream costs a set of names and nothing else.
// Pure state: no sockets, no time.

import type { ResourceChange, ResourceStore, StoredResource } from './resource-store.ts';

export interface SubscriptionRequest {
  readonly resourceNamesSubscribe: readonly string[];
  readonly resourceNamesUnsubscribe: readonly string[];
  readonly initialResourceVersions: Readonly<Record<string, string>>;
}

export interface SubscriptionOptions {
  readonly store: ResourceStore;
  readonly typeUrl: string;
  /** Node of the caller, for resources that have an owner. */
  readonly node: string | undefined;
  /** Content bytes after which a response is closed and another follows. */
  readonly maxResponseBytes: number;
  /** Wildcard: removals wait for a response of their own, after everything else was said. */
  readonly removalsLast?: boolean;
}

export interface NamedResource {
  /** The name it is sent under: its own, or the alias that was asked for. */
  readonly name: string;
  readonly resource: StoredResource;
}

export interface ResponseContent {
  readonly resources: readonly NamedResource[];
  readonly removed: readonly string[];
}

/** So many workloads are some 100 KB. */
const manyNames = 500;

export class Subscription {
  readonly #options: SubscriptionOptions;
  /** Changes up to here are in what the first response is computed from. */
  readonly #startGeneration: number;
  /** Wildcard: names that changed. On demand: names that must be answered even if they did not change. */
  readonly #pending = new Set<string>();
  /** On demand only: names that were asked for, and what the client holds. */
  readonly #asked = new Set<string>();
  readonly #held = new Map<string, string>();
  /** On demand only: names whose resource may be another than the client's. Every change is noted here until next(). */
  readonly #dirty = new Set<string>();
  #wildcard: boolean;
  #answered = false;

  /** From the first request of the type on a stream (WIRE 3.1). */
  constructor(request: SubscriptionRequest, options: SubscriptionOptions) {
    this.#options = options;
    this.#startGeneration = options.store.generation;
    const { resourceNamesSubscribe: subscribe, resourceNamesUnsubscribe: unsubscribe } = request;
    // Nothing asked for means everything; "*" asked for and given up in one request means nothing.
    this.#wildcard = subscribe.length === 0 || (subscribe.includes('*') && !unsubscribe.includes('*'));
    const versions = Object.entries(request.initialResourceVersions);
    if (this.#wildcard) this.#startWildcard(new Map(versions));
    else {
      // A reconnecting client names what it holds or waits for only there.
      for (const [name, version] of versions) {
        if (version !== '') this.#held.set(name, version);
        this.#ask(name);
      }
    }
    // An empty version is a name that is still waited for: it wants an answer whatever the answer is.
    for (const [name, version] of versions) if (version === '') this.#pending.add(name);
    for (const name of subscribe) this.#subscribe(name);
    for (const name of unsubscribe) this.#unsubscribe(name);
  }

  /** Subscribe and unsubscribe lists of a later request. */
  update({ resourceNamesSubscribe, resourceNamesUnsubscribe }: SubscriptionRequest): void {
    const stars = [resourceNamesSubscribe.includes('*'), resourceNamesUnsubscribe.includes('*')];
    if (stars[0] && !stars[1] && !this.#wildcard) {
      this.#wildcard = true;
      this.#startWildcard(new Map(this.#held));
      this.#held.clear();
      this.#dirty.clear();
    }
    if (stars[1] && !stars[0] && this.#wildcard) {
      this.#wildcard = false;
      this.#pending.clear();
      for (const name of this.#asked) this.#subscribe(name);
    }
    for (const name of resourceNamesSubscribe) this.#subscribe(name);
    for (const name of resourceNamesUnsubscribe) this.#unsubscribe(name);
  }

  /** Names asked for one by one. */
  get askedNames(): number {
    return this.#asked.size;
  }

  /** Whether next() has something to say; the first response is due even when it is empty. */
  get ready(): boolean {
    return !this.#answered || this.#pending.size > 0 || this.#dirty.size > 0;
  }

  /** Whether next() has much to say: hundreds of names at once. A first answer to a node that holds everything has nothing. */
  get large(): boolean {
    return this.#pending.size + this.#dirty.size > manyNames;
  }

  /** Whether all that next() would say is that resources are gone. */
  get onlyRemovals(): boolean {
    if (!this.#answered || !this.#wildcard) return false;
    for (const name of this.#pending) if (this.#find(name) !== undefined) return false;
    return true;
  }

  noteChanges(changes: ReadonlyMap<string, ResourceChange>): void {
    if (!this.#wildcard) {
      for (const [name, change] of changes) this.#noteChange(name, change);
      return;
    }
    const { node } = this.#options;
    for (const [name, { generation, audience }] of changes) {
      const concerned = audience === undefined || (node !== undefined && audience.has(node));
      if (concerned && generation > this.#startGeneration) this.#pending.add(name);
    }
  }

  /** The next response, undefined if there is nothing to say after all. */
  next(): ResponseContent | undefined {
    const first = !this.#answered;
    const { onlyRemovals } = this;
    this.#answered = true;
    const content = this.#wildcard ? this.#nextWildcard(first || onlyRemovals) : this.#nextOnDemand();
    const empty = content.resources.length === 0 && content.removed.length === 0;
    return empty && !first ? undefined : content;
  }

  #startWildcard(versions: ReadonlyMap<string, string>): void {
    const { store, typeUrl } = this.#options;
    for (const resource of store.entries(typeUrl)) {
      if (this.#visible(resource) && versions.get(resource.name) !== resource.version) {
        this.#pending.add(resource.name);
      }
    }
    // What the client holds and nobody serves any more: next() finds nothing under the name and says so.
    for (const name of versions.keys()) if (this.#find(name) === undefined) this.#pending.add(name);
  }

  #subscribe(name: string): void {
    if (name === '*') return;
    this.#ask(name);
    this.#pending.add(name);
  }

  #ask(name: string): void {
    this.#asked.add(name);
    this.#markAnswer(name);
  }

  #unsubscribe(name: string): void {
    this.#asked.delete(name);
    this.#pending.delete(name);
    // The client drops it by itself; telling it again would be a removal of something it no longer asks for.
    this.#held.delete(name);
    this.#markAnswer(name);
  }

  /** Costs as much as the change is large, however many names were asked for. */
  #noteChange(name: string, { related }: ResourceChange): void {
    this.#mark(name);
    let concerns = this.#held.has(name);
    for (const key of related) {
      if (!this.#asked.has(key)) continue;
      this.#mark(key);
      concerns = true;
    }
    // What belongs to it may be wanted from now on, or no longer.
    if (concerns) this.#markMembers(name);
    // As long as there is a resource of that very name, it is the answer, and those of that alias are not.
    if (this.#asked.has(name)) this.#markAliased(name);
  }

  /** All that a name answers for. */
  #markAnswer(name: string): void {
    if (this.#wildcard) return;
    this.#mark(name);
    this.#markMembers(name);
    this.#markAliased(name);
  }

  #markAliased(alias: string): void {
    const { store, typeUrl } = this.#options;
    for (const resource of store.byAlias(typeUrl, alias)) {
      this.#mark(resource.name);
      this.#markMembers(resource.name);
    }
  }

  #markMembers(group: string): void {
    const { store, typeUrl } = this.#options;
    for (const member of store.byGroup(typeUrl, group)) this.#mark(member.name);
  }

  #mark(name: string): void {
    if (this.#held.has(name) || this.#wanted(name) !== undefined) this.#dirty.add(name);
  }

  #nextWildcard(removalsDue: boolean): ResponseContent {
    const resources: NamedResource[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const name of this.#pending) {
      if (bytes >= this.#options.maxResponseBytes) break;
      const resource = this.#find(name);
      if (resource !== undefined) {
        resources.push({ name, resource });
        bytes += resource.any.value.length;
      } else if (removalsDue || !this.#options.removalsLast) removed.push(name);
      else continue;
      this.#pending.delete(name);
    }
    return { resources, removed };
  }

  #nextOnDemand(): ResponseContent {
    const resources: NamedResource[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const name of [...this.#dirty, ...this.#pending]) {
      const resource = this.#wanted(name);
      if (resource !== undefined && bytes >= this.#options.maxResponseBytes) continue;
      const isDue = this.#pending.delete(name);
      this.#dirty.delete(name);
      const held = this.#held.get(name);
      if (resource === undefined) {
        if (this.#held.delete(name) || isDue) removed.push(name);
      } else if (isDue || held !== resource.version) {
        this.#held.set(name, resource.version);
        resources.push({ name, resource });
        bytes += resource.any.value.length;
      }
    }
    return { resources, removed };
  }

  /**
   * What the client shall hold under a name: what was asked for under the asked name, because a waiting client compares
   * names only; under its own name too, because only that name removes it again; and all that belongs to it.
   */
  #wanted(name: string): StoredResource | undefined {
    const own = this.#find(name);
    if (own !== undefined) return this.#isWanted(own) ? own : undefined;
    return this.#asked.has(name) ? this.#resolve(name)[0] : undefined;
  }

  #isWanted(resource: StoredResource): boolean {
    if (this.#isAnswer(resource)) return true;
    return resource.groups.some((group) => {
      const head = this.#find(group);
      return head !== undefined && this.#isAnswer(head);
    });
  }

  /** Whether a name that was asked for means this resource. */
  #isAnswer({ name, aliases }: StoredResource): boolean {
    if (this.#asked.has(name)) return true;
    return aliases.some((alias) => this.#asked.has(alias) && this.#find(alias) === undefined);
  }

  #resolve(name: string): readonly StoredResource[] {
    const { store, typeUrl } = this.#options;
    const own = this.#find(name);
    if (own !== undefined) return [own];
    const found = store.byAlias(typeUrl, name).filter((resource) => this.#visible(resource));
    // Several workloads with one address: the pod is the better answer (WIRE 3.2).
    return found.sort((a, b) => Number(b.name.includes('//Pod/')) - Number(a.name.includes('//Pod/')));
  }

  #find(name: string): StoredResource | undefined {
    const resource = this.#options.store.get(this.#options.typeUrl, name);
    return resource !== undefined && this.#visible(resource) ? resource : undefined;
  }

  #visible({ owner }: StoredResource): boolean {
    return owner === undefined || owner === this.#options.node;
  }
}
