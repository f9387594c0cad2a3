// Authorization policies by key, namespace and scope, and the candidates of a workload (WIRE 5). Immutable; `apply`
// returns the next index. A candidate list is one frozen array for all workloads that share it, and it stays that
// very array across changes that do not touch it: compiled policy sets are kept by it.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { RequestTarget } from '../model/request-authentication.ts';
import type { GatewayKey } from '../model/routing.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { PolicyKey, Workload } from '../model/workload.ts';
import { Buckets } from './buckets.ts';
import { ShardedMap } from './sharded-map.ts';

type Candidates = readonly AuthorizationPolicy[];

/** What a request at a waypoint is for. */
export interface RequestScope {
  readonly gateway: GatewayKey;
  /** The service that was addressed; undefined for a request to a workload's own address. */
  readonly service?: Service | undefined;
  /** The workload that answers; undefined before one is chosen. */
  readonly workload?: Workload | undefined;
}

/** Distinct lists kept; beyond it the cache starts anew. Real meshes have one list a namespace and selector. */
const maxLists = 10_000;

interface Parts {
  readonly byKey: ShardedMap<PolicyKey, AuthorizationPolicy>;
  readonly global: Buckets<string, AuthorizationPolicy>;
  readonly byNamespace: Buckets<string, AuthorizationPolicy>;
  readonly byTarget: Buckets<string, AuthorizationPolicy>;
}

export class PolicyIndex {
  readonly byKey: ShardedMap<PolicyKey, AuthorizationPolicy>;
  readonly #global: Buckets<string, AuthorizationPolicy>;
  readonly #byNamespace: Buckets<string, AuthorizationPolicy>;
  readonly #byTarget: Buckets<string, AuthorizationPolicy>;
  /** Lists of the index before this one, taken over where they are still right. */
  readonly #previous: ReadonlyMap<string, Candidates>;
  readonly #lists = new Map<string, Candidates>();
  readonly #byWorkload = new WeakMap<Workload, Candidates>();
  readonly #byService = new WeakMap<Service, Candidates>();
  /** By the list of the workload or namespace, then by gateway and service (`''` without one). */
  readonly #byRequest = new WeakMap<Candidates, Map<GatewayKey, Map<ServiceKey | '', Candidates>>>();

  private constructor(parts: Parts, previous: ReadonlyMap<string, Candidates>) {
    this.byKey = parts.byKey;
    this.#global = parts.global;
    this.#byNamespace = parts.byNamespace;
    this.#byTarget = parts.byTarget;
    this.#previous = previous;
  }

  static empty(): PolicyIndex {
    const buckets = (): Buckets<string, AuthorizationPolicy> => new Buckets(byKeyOrder);
    const parts = { global: buckets(), byNamespace: buckets(), byTarget: buckets() };
    return new PolicyIndex({ byKey: ShardedMap.empty(), ...parts }, new Map());
  }

  /** Policies with scope `global`, ordered by key. */
  get global(): Candidates {
    return this.#global.get('');
  }

  /** Policies with scope `namespace` of the namespace, ordered by key. */
  ofNamespace(namespace: string): Candidates {
    return this.#byNamespace.get(namespace);
  }

  /** Policies of the workload's namespace, global ones, then those it names; unknown names are left out. */
  candidatesOf(workload: Workload): Candidates {
    let list = this.#byWorkload.get(workload);
    if (list === undefined) {
      list = this.#sharedList(workload.namespace, workload.authorizationPolicies);
      this.#byWorkload.set(workload, list);
    }
    return list;
  }

  /**
   * Candidates for a request: those of the workload, or without one those of the service's namespace and the global
   * ones, and beside them the policies attached to the gateway, the service, or its namespace.
   */
  candidatesOfRequest({ gateway, service, workload }: RequestScope): Candidates {
    const base = workload === undefined ? this.#withoutWorkload(service) : this.candidatesOf(workload);
    let ofGateway = this.#byRequest.get(base);
    if (ofGateway === undefined) this.#byRequest.set(base, (ofGateway = new Map()));
    let ofService = ofGateway.get(gateway);
    if (ofService === undefined) ofGateway.set(gateway, (ofService = new Map()));
    const key = service === undefined ? '' : service.key;
    let list = ofService.get(key);
    if (list === undefined) {
      list = this.#withTargets(base, { gateway, service, workload });
      ofService.set(key, list);
    }
    return list;
  }

  /** The values of `stored` replace those with the same key; keys in `removed` must not be stored too. */
  apply(removed: readonly PolicyKey[], stored: readonly AuthorizationPolicy[]): PolicyIndex {
    if (removed.length === 0 && stored.length === 0) return this;
    const byKey = this.byKey.edit();
    const global = this.#global.edit();
    const byNamespace = this.#byNamespace.edit();
    const byTarget = this.#byTarget.edit();
    const change = (policy: AuthorizationPolicy | undefined, how: 'add' | 'remove'): void => {
      if (policy?.scope === 'global') global[how]('', policy);
      if (policy?.scope === 'namespace') byNamespace[how](policy.namespace, policy);
      for (const key of new Set(policy?.targets?.map(targetKey)))
        byTarget[how](key, policy as AuthorizationPolicy);
    };
    for (const key of removed) {
      change(byKey.get(key), 'remove');
      byKey.delete(key);
    }
    for (const policy of stored) {
      change(byKey.get(policy.key), 'remove');
      change(policy, 'add');
      byKey.set(policy.key, policy);
    }
    const parts = {
      byKey: byKey.finish(),
      global: global.finish(),
      byNamespace: byNamespace.finish(),
      byTarget: byTarget.finish(),
    };
    return new PolicyIndex(parts, this.#lists);
  }

  #sharedList(namespace: string, names: readonly PolicyKey[]): Candidates {
    return this.#shared(JSON.stringify([namespace, ...names]), () => this.#build(namespace, names));
  }

  #withoutWorkload(service: Service | undefined): Candidates {
    if (service === undefined) return this.global;
    let list = this.#byService.get(service);
    if (list === undefined) {
      list = this.#sharedList(service.namespace, []);
      this.#byService.set(service, list);
    }
    return list;
  }

  #withTargets(base: Candidates, { gateway, service, workload }: RequestScope): Candidates {
    const namespace = service?.namespace ?? workload?.namespace;
    const attached = [
      ...this.#byTarget.get(targetKey({ kind: 'gateway', gateway })),
      ...(service === undefined
        ? []
        : this.#byTarget.get(targetKey({ kind: 'service', service: service.key }))),
      ...(namespace === undefined ? [] : this.#byTarget.get(targetKey({ kind: 'namespace', namespace }))),
      ...this.#byTarget.get(targetKey({ kind: 'namespace', namespace: '' })),
    ];
    if (attached.length === 0) return base;
    const all = [...new Set([...base, ...attached])];
    if (all.length === base.length) return base;
    return this.#shared(JSON.stringify({ request: all.map(({ key }) => key) }), () => all);
  }

  /** The list of this key, the very array of the index before where it has the same items. */
  #shared(key: string, build: () => AuthorizationPolicy[]): Candidates {
    let list = this.#lists.get(key);
    if (list === undefined) {
      const built = build();
      const before = this.#previous.get(key);
      list = before !== undefined && sameItems(before, built) ? before : Object.freeze(built);
      if (this.#lists.size >= maxLists) this.#lists.clear();
      this.#lists.set(key, list);
    }
    return list;
  }

  #build(namespace: string, names: readonly PolicyKey[]): AuthorizationPolicy[] {
    const list = new Set([...this.ofNamespace(namespace), ...this.global]);
    for (const name of names) {
      const policy = this.byKey.get(name);
      if (policy !== undefined) list.add(policy);
    }
    return [...list];
  }
}

function targetKey(target: RequestTarget): string {
  if (target.kind === 'gateway') return `gateway ${target.gateway}`;
  return target.kind === 'service' ? `service ${target.service}` : `namespace ${target.namespace}`;
}

function sameItems(a: Candidates, b: Candidates): boolean {
  return a.length === b.length && a.every((policy, i) => policy === b[i]);
}

function byKeyOrder(a: AuthorizationPolicy, b: AuthorizationPolicy): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}
