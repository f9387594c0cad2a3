// The whole configuration of a mesh, and a change of it. Controller and nodes hold the same shape.

import type { AuthorizationPolicy } from './authorization.ts';
import { defaultMeshConfig, type MeshConfig } from './mesh-config.ts';
import type { NodePod } from './node-pod.ts';
import type { RequestAuthentication, RequestAuthenticationKey } from './request-authentication.ts';
import type { GatewayKey, RoutingKey, ServiceRouting, WaypointConfig } from './routing.ts';
import type { Service, ServiceKey } from './service.ts';
import type { PolicyKey, Workload, WorkloadUid } from './workload.ts';

export interface Model {
  readonly workloads: ReadonlyMap<WorkloadUid, Workload>;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly policies: ReadonlyMap<PolicyKey, AuthorizationPolicy>;
  readonly pods: ReadonlyMap<WorkloadUid, NodePod>;
  readonly waypoints: ReadonlyMap<GatewayKey, WaypointConfig>;
  readonly routings: ReadonlyMap<RoutingKey, ServiceRouting>;
  readonly requestAuthentications: ReadonlyMap<RequestAuthenticationKey, RequestAuthentication>;
  readonly meshConfig: MeshConfig;
  /** Names, sorted: where a pod that says nothing itself is captured. */
  readonly enrolledNamespaces: readonly string[];
}

/** A change between two models. Structured-clone safe, so it can be posted to a worker thread as it is. */
export interface ModelDelta {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly pods: readonly NodePod[];
  readonly waypoints: readonly WaypointConfig[];
  readonly routings: readonly ServiceRouting[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly meshConfig?: MeshConfig;
  readonly enrolledNamespaces?: readonly string[];
  readonly removed: {
    readonly workloads: readonly WorkloadUid[];
    readonly services: readonly ServiceKey[];
    readonly policies: readonly PolicyKey[];
    readonly pods: readonly WorkloadUid[];
    readonly waypoints: readonly GatewayKey[];
    readonly routings: readonly RoutingKey[];
    readonly requestAuthentications: readonly RequestAuthenticationKey[];
  };
}

export const emptyModel: Model = Object.freeze({
  workloads: new Map(),
  services: new Map(),
  policies: new Map(),
  pods: new Map(),
  waypoints: new Map(),
  routings: new Map(),
  requestAuthentications: new Map(),
  meshConfig: defaultMeshConfig,
  enrolledNamespaces: [],
});

/** Nothing changes; the base of a hand-written delta: `{ ...emptyDelta, pods: [pod] }`. */
export const emptyDelta: ModelDelta = Object.freeze({
  workloads: [],
  services: [],
  policies: [],
  pods: [],
  waypoints: [],
  routings: [],
  requestAuthentications: [],
  removed: Object.freeze({
    workloads: [],
    services: [],
    policies: [],
    pods: [],
    waypoints: [],
    routings: [],
    requestAuthentications: [],
  }),
});

export function isEmptyDelta(delta: ModelDelta): boolean {
  const { removed, meshConfig, enrolledNamespaces, ...stored } = delta;
  if (meshConfig !== undefined || enrolledNamespaces !== undefined) return false;
  return [...Object.values(stored), ...Object.values(removed)].every((list) => list.length === 0);
}
