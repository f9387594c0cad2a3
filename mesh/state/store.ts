// The one writer of the mesh's state in a thread: takes deltas, hands out immutable snapshots, tells subscribers.
// Invariant: a value equal to the stored one changes nothing, so unchanged objects keep their identity and every
// cache that hangs on them stays warm. What a delta means is the source's business; nothing is validated here.

import { modelEqual } from '../model/diff.ts';
import { isEmptyDelta, type ModelDelta } from '../model/model.ts';
import type { ShardedMap } from './sharded-map.ts';
import { Snapshot } from './snapshot.ts';

/** Gets the new state and what really changed: no equal values, no removals of unknown keys. */
export type StoreListener = (snapshot: Snapshot, delta: ModelDelta) => void;

export class Store {
  #snapshot = Snapshot.empty();
  readonly #listeners = new Set<{ readonly notify: StoreListener }>();
  #notifying = false;

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  get generation(): number {
    return this.#snapshot.generation;
  }

  /**
   * Removals come first, so a key that is removed and stored in one delta is stored; of several values with one key the
   * last counts. Subscribers run before this returns, all of them even if one throws; the first error is thrown on.
   */
  apply(delta: ModelDelta): void {
    if (this.#notifying) throw new Error('Cannot apply a change from within a store subscriber');
    const effective = effectiveDelta(this.#snapshot, delta);
    if (isEmptyDelta(effective)) return;
    this.#snapshot = this.#snapshot.with(effective);
    this.#notify(effective);
  }

  /** From the next change on; the state so far is `snapshot()`. Returns the idempotent unsubscribe. */
  subscribe(listener: StoreListener): () => void {
    const entry = { notify: listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  #notify(delta: ModelDelta): void {
    const errors: unknown[] = [];
    this.#notifying = true;
    for (const listener of [...this.#listeners]) {
      if (!this.#listeners.has(listener)) continue;
      try {
        listener.notify(this.#snapshot, delta);
      } catch (error) {
        errors.push(error);
      }
    }
    this.#notifying = false;
    if (errors.length > 0) throw errors[0];
  }
}

function effectiveDelta(snapshot: Snapshot, delta: ModelDelta): ModelDelta {
  const workloads = effective(
    snapshot.workloads,
    delta.removed.workloads,
    delta.workloads,
    (value) => value.uid,
  );
  const services = effective(snapshot.services, delta.removed.services, delta.services, (value) => value.key);
  const policies = effective(snapshot.policies, delta.removed.policies, delta.policies, (value) => value.key);
  const pods = effective(snapshot.pods, delta.removed.pods, delta.pods, (value) => value.uid);
  const waypoints = effective(
    snapshot.waypoints,
    delta.removed.waypoints,
    delta.waypoints,
    (value) => value.gateway,
  );
  const routings = effective(snapshot.routings, delta.removed.routings, delta.routings, (value) => value.key);
  const requestAuthentications = effective(
    snapshot.requestAuthentications,
    delta.removed.requestAuthentications,
    delta.requestAuthentications,
    (value) => value.key,
  );
  const { meshConfig, enrolledNamespaces } = delta;
  const newMeshConfig = meshConfig !== undefined && !modelEqual(meshConfig, snapshot.meshConfig);
  const newEnrolled =
    enrolledNamespaces !== undefined && !modelEqual(enrolledNamespaces, snapshot.enrolledNamespaces);
  return {
    workloads: workloads.stored,
    services: services.stored,
    policies: policies.stored,
    pods: pods.stored,
    waypoints: waypoints.stored,
    routings: routings.stored,
    requestAuthentications: requestAuthentications.stored,
    ...(newMeshConfig ? { meshConfig } : {}),
    ...(newEnrolled ? { enrolledNamespaces } : {}),
    removed: {
      workloads: workloads.removed,
      services: services.removed,
      policies: policies.removed,
      pods: pods.removed,
      waypoints: waypoints.removed,
      routings: routings.removed,
      requestAuthentications: requestAuthentications.removed,
    },
  };
}

function effective<K extends string, V>(
  current: ShardedMap<K, V>,
  removed: readonly K[],
  stored: readonly V[],
  keyOf: (value: V) => K,
): { removed: K[]; stored: V[] } {
  const last = new Map(stored.map((value) => [keyOf(value), value]));
  return {
    removed: [...new Set(removed)].filter((key) => !last.has(key) && current.has(key)),
    stored: [...last]
      .filter(([key, value]) => !modelEqual(current.get(key), value))
      .map(([, value]) => value),
  };
}
