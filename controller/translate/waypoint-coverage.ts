// How many of the workloads that a policy covers have no waypoint: there, facts of requests are not known.

import type { Waypoints } from './gateways.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export class WaypointCoverage {
  readonly #byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>;
  readonly #waypoints: ReadonlySet<WorkloadDraft>;
  /** By namespace: counted once, however many policies ask. */
  readonly #counts = new Map<string, number>();

  /** `byNamespace`: all workloads, bound to their waypoints. */
  constructor(options: {
    readonly byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>;
    readonly waypoints: Waypoints;
  }) {
    this.#byNamespace = options.byNamespace;
    this.#waypoints = new Set([...options.waypoints.values()].flatMap(({ pods }) => pods));
  }

  /** Of these workloads, of a namespace, or of all for `''`. Workloads out of the mesh enforce nothing and do not count. */
  without(covered: readonly WorkloadDraft[] | string): number {
    if (typeof covered !== 'string') return this.#count(covered);
    const namespaces = covered === '' ? [...this.#byNamespace.keys()] : [covered];
    return namespaces.reduce((sum, namespace) => sum + this.#inNamespace(namespace), 0);
  }

  #inNamespace(namespace: string): number {
    let count = this.#counts.get(namespace);
    if (count === undefined) {
      count = this.#count(this.#byNamespace.get(namespace) ?? []);
      this.#counts.set(namespace, count);
    }
    return count;
  }

  #count(workloads: readonly WorkloadDraft[]): number {
    let count = 0;
    for (const draft of workloads) {
      if (draft.base.tunnelProtocol !== 'hbone' || draft.waypoint !== undefined) continue;
      if (!this.#waypoints.has(draft)) count++;
    }
    return count;
  }
}
