// Authorization policies by key, namespace and scope, and the candidates of a workload (WIRE 5). Immutable; `apply`
// returns the next index. A candidate list is one frozen array for all workloads that share it, and it stays that
// very array across changes that do not touch it: compiled policy sets are kept by it.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { PolicyKey, Workload } from '../model/workload.ts';
import { Buckets } from './buckets.ts';
import { ShardedMap } from './sharded-map.ts';

type Candidates = readonly AuthorizationPolicy[];

/** Distinct lists kept; beyond it the cache starts anew. Real meshes have one list a namespace and selector. */
const maxLists = 10_000;

export class PolicyIndex {
  readonly byKey: ShardedMap<PolicyKey, AuthorizationPolicy>;
  readonly #global: Buckets<string, AuthorizationPolicy>;
  readonly #byNamespace: Buckets<string, AuthorizationPolicy>;
  /** Lists of the index before this one, taken over where they are still right. */
  readonly #previous: ReadonlyMap<string, Candidates>;
  readonly #lists = new Map<string, Candidates>();
  readonly #byWorkload = new WeakMap<Workload, Candidates>();

  private constructor(
    byKey: ShardedMap<PolicyKey, AuthorizationPolicy>,
    global: Buckets<string, AuthorizationPolicy>,
    byNamespace: Buckets<string, AuthorizationPolicy>,
    previous: ReadonlyMap<string, Candidates>,
  ) {
    this.byKey = byKey;
    this.#global = global;
    this.#byNamespace = byNamespace;
    this.#previous = previous;
  }

  static empty(): PolicyIndex {
    return new PolicyIndex(ShardedMap.empty(), new Buckets(byKeyOrder), new Buckets(byKeyOrder), new Map());
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

  /** The values of `stored` replace those with the same key; keys in `removed` must not be stored too. */
  apply(removed: readonly PolicyKey[], stored: readonly AuthorizationPolicy[]): PolicyIndex {
    if (removed.length === 0 && stored.length === 0) return this;
    const byKey = this.byKey.edit();
    const global = this.#global.edit();
    const byNamespace = this.#byNamespace.edit();
    const change = (policy: AuthorizationPolicy | undefined, how: 'add' | 'remove'): void => {
      if (policy?.scope === 'global') global[how]('', policy);
      if (policy?.scope === 'namespace') byNamespace[how](policy.namespace, policy);
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
    return new PolicyIndex(byKey.finish(), global.finish(), byNamespace.finish(), this.#lists);
  }

  #sharedList(namespace: string, names: readonly PolicyKey[]): Candidates {
    const key = JSON.stringify([namespace, ...names]);
    let list = this.#lists.get(key);
    if (list === undefined) {
      const built = this.#build(namespace, names);
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

function sameItems(a: Candidates, b: Candidates): boolean {
  return a.length === b.length && a.every((policy, i) => policy === b[i]);
}

function byKeyOrder(a: AuthorizationPolicy, b: AuthorizationPolicy): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}
