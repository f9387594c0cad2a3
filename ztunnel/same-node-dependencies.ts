// What verdicts of the same-node path were read from, so that a change of something else does not void them: in a large
// cluster pods of other nodes come and go all the time. Invariant: it errs towards voiding; a kind of object that it does
// not know counts. Of workloads decideDirect() (same-node-verdict.ts) reads pods of this node, those at the destination's
// address, and the endpoints of the Service there; of everything else it may read all.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { ModelDelta } from '../mesh/model/model.ts';
import type { ServiceKey } from '../mesh/model/service.ts';
import type { Workload, WorkloadUid } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';

export class VerdictDependencies {
  #addresses = new Set<IpAddress>();
  #services = new Set<ServiceKey>();

  /** A verdict, or that there is none, was decided for a pod that connects to `destination`. */
  add(snapshot: Snapshot, source: Workload | undefined, destination: IpAddress): void {
    this.#addresses.add(destination);
    if (source === undefined) return;
    const service = snapshot.serviceForAddress(source.network, destination, source.namespace);
    if (service !== undefined) this.#services.add(service.key);
  }

  /** Before all verdicts are decided anew. */
  clear(): void {
    this.#addresses.clear();
    this.#services.clear();
  }

  /**
   * Whether any verdict might be another one after the change.
   * @param before the state that the verdicts were decided in, or an earlier one
   * @param isLocal whether a workload is a captured pod of this node
   */
  concern(
    delta: ModelDelta,
    { before, isLocal }: { readonly before: Snapshot; readonly isLocal: (uid: WorkloadUid) => boolean },
  ): boolean {
    const { workloads, removed, waypoints: _w, routings: _r, requestAuthentications: _a, ...others } = delta;
    const { enrolledNamespaces: _e, ...read } = others;
    const {
      workloads: gone,
      waypoints: _gw,
      routings: _gr,
      requestAuthentications: _ga,
      ...readGone
    } = removed;
    if (Object.values(read).some(isChange) || Object.values(readGone).some(isChange)) return true;
    const touches = (workload: Workload | undefined): boolean =>
      workload !== undefined && this.#touches(workload, isLocal);
    return (
      workloads.some((workload) => touches(workload) || touches(before.workloadByUid(workload.uid))) ||
      gone.some((uid) => isLocal(uid) || touches(before.workloadByUid(uid)))
    );
  }

  #touches(workload: Workload, isLocal: (uid: WorkloadUid) => boolean): boolean {
    return (
      isLocal(workload.uid) ||
      workload.addresses.some((address) => this.#addresses.has(address)) ||
      [...workload.services.keys()].some((key) => this.#services.has(key))
    );
  }
}

/** Of one part of a delta: a list, or a value that replaces the one before. */
function isChange(part: unknown): boolean {
  return Array.isArray(part) ? part.length > 0 : part !== undefined;
}
