// The whole configuration of a mesh, and a change of it. Controller and nodes hold the same shape.

import type { AuthorizationPolicy } from './authorization.ts';
import type { MeshConfig } from './mesh-config.ts';
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
