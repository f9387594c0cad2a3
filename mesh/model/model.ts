// The whole configuration of a mesh, and a change of it. Controller and nodes hold the same shape.

import type { AuthorizationPolicy } from './authorization.ts';
import { defaultMeshConfig, type MeshConfig } from './mesh-config.ts';
import type { NodePod } from './node-pod.ts';
import type { Service, ServiceKey } from './service.ts';
import type { PolicyKey, Workload, WorkloadUid } from './workload.ts';

export interface Model {
  readonly workloads: ReadonlyMap<WorkloadUid, Workload>;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly policies: ReadonlyMap<PolicyKey, AuthorizationPolicy>;
  readonly pods: ReadonlyMap<WorkloadUid, NodePod>;
  readonly meshConfig: MeshConfig;
}

/** A change between two models. Structured-clone safe, so it can be posted to a worker thread as it is. */
export interface ModelDelta {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly pods: readonly NodePod[];
  readonly meshConfig?: MeshConfig;
  readonly removed: {
    readonly workloads: readonly WorkloadUid[];
    readonly services: readonly ServiceKey[];
    readonly policies: readonly PolicyKey[];
    readonly pods: readonly WorkloadUid[];
  };
}

export const emptyModel: Model = Object.freeze({
  workloads: new Map(),
  services: new Map(),
  policies: new Map(),
  pods: new Map(),
  meshConfig: defaultMeshConfig,
});

/** Nothing changes; the base of a hand-written delta: `{ ...emptyDelta, pods: [pod] }`. */
export const emptyDelta: ModelDelta = Object.freeze({
  workloads: [],
  services: [],
  policies: [],
  pods: [],
  removed: Object.freeze({ workloads: [], services: [], policies: [], pods: [] }),
});

export function isEmptyDelta(delta: ModelDelta): boolean {
  const { removed } = delta;
  const lists = [delta.workloads, delta.services, delta.policies, delta.pods];
  const removals = [removed.workloads, removed.services, removed.policies, removed.pods];
  return delta.meshConfig === undefined && [...lists, ...removals].every((list) => list.length === 0);
}
