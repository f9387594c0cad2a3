// One state of the whole mesh, as readers see it: it never changes, so whoever holds one decides consistently.
// Every lookup is constant time in the number of workloads and services. Made by the Store only.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { IpAddress } from '../model/ip-address.ts';
import { defaultMeshConfig, type MeshConfig } from '../model/mesh-config.ts';
import type { Model, ModelDelta } from '../model/model.ts';
import type { NodePod } from '../model/node-pod.ts';
import type { RequestAuthentication, RequestAuthenticationKey } from '../model/request-authentication.ts';
import type { GatewayKey, RoutingKey, ServiceRouting, WaypointConfig } from '../model/routing.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { PolicyKey, Workload, WorkloadUid } from '../model/workload.ts';
import { PolicyIndex, type RequestScope } from './policy-index.ts';
import { ServiceIndex } from './service-index.ts';
import { ShardedMap } from './sharded-map.ts';
import { WorkloadIndex } from './workload-index.ts';

interface Parts {
  readonly workloads: WorkloadIndex;
  readonly services: ServiceIndex;
  readonly policies: PolicyIndex;
  readonly pods: ShardedMap<WorkloadUid, NodePod>;
  readonly waypoints: ShardedMap<GatewayKey, WaypointConfig>;
  readonly routings: ShardedMap<RoutingKey, ServiceRouting>;
  readonly requestAuthentications: ShardedMap<RequestAuthenticationKey, RequestAuthentication>;
  readonly meshConfig: MeshConfig;
  readonly enrolledNamespaces: readonly string[];
}

export class Snapshot {
  /** Grows by one with every change; 0 is the empty state. */
  readonly generation: number;
  readonly #parts: Parts;

  private constructor(generation: number, parts: Parts) {
    this.generation = generation;
    this.#parts = parts;
  }

  static empty(): Snapshot {
    return new Snapshot(0, {
      workloads: WorkloadIndex.empty(),
      services: ServiceIndex.empty(),
      policies: PolicyIndex.empty(),
      pods: ShardedMap.empty(),
      waypoints: ShardedMap.empty(),
      routings: ShardedMap.empty(),
      requestAuthentications: ShardedMap.empty(),
      meshConfig: defaultMeshConfig,
      enrolledNamespaces: [],
    });
  }

  get workloads(): ShardedMap<WorkloadUid, Workload> {
    return this.#parts.workloads.byUid;
  }

  get services(): ShardedMap<ServiceKey, Service> {
    return this.#parts.services.byKey;
  }

  get policies(): ShardedMap<PolicyKey, AuthorizationPolicy> {
    return this.#parts.policies.byKey;
  }

  get pods(): ShardedMap<WorkloadUid, NodePod> {
    return this.#parts.pods;
  }

  get waypoints(): ShardedMap<GatewayKey, WaypointConfig> {
    return this.#parts.waypoints;
  }

  get routings(): ShardedMap<RoutingKey, ServiceRouting> {
    return this.#parts.routings;
  }

  get requestAuthentications(): ShardedMap<RequestAuthenticationKey, RequestAuthentication> {
    return this.#parts.requestAuthentications;
  }

  get meshConfig(): MeshConfig {
    return this.#parts.meshConfig;
  }

  /** Names, sorted. */
  get enrolledNamespaces(): readonly string[] {
    return this.#parts.enrolledNamespaces;
  }

  workloadByUid(uid: WorkloadUid): Workload | undefined {
    return this.workloads.get(uid);
  }

  /** Who a pod of this node is for what it opens itself: also before its address is known. */
  clientByUid(uid: WorkloadUid): Workload | undefined {
    return this.workloadByUid(uid) ?? this.podByUid(uid)?.starting;
  }

  /** The preferred workload at the address: a pod, then one with HBONE (WIRE 3.2). Never a host-network one. */
  workloadByAddress(network: string, ip: IpAddress): Workload | undefined {
    return this.#parts.workloads.atAddress(network, ip)[0];
  }

  /** All workloads at the address, the preferred one first. */
  workloadsByAddress(network: string, ip: IpAddress): readonly Workload[] {
    return this.#parts.workloads.atAddress(network, ip);
  }

  workloadByName(namespace: string, name: string, serviceAccount: string): Workload | undefined {
    return this.#parts.workloads.named(namespace, name, serviceAccount);
  }

  /**
   * Workloads of any health that are endpoints of the service, ordered by uid; also of a service that is not known
   * yet. The array stays the same object until one of them changes.
   */
  endpointsOf(service: ServiceKey): readonly Workload[] {
    return this.#parts.workloads.endpointsOf(service);
  }

  serviceByKey(key: ServiceKey): Service | undefined {
    return this.services.get(key);
  }

  /** Every service that claims the address, ranges after single addresses; visibility is not looked at. */
  servicesByAddress(network: string, ip: IpAddress): readonly Service[] {
    return this.#parts.services.atAddress(network, ip);
  }

  /** The service that a client of the namespace reaches at the address (WIRE 6.1 step 3), visibility respected. */
  serviceForAddress(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    return this.#parts.services.forAddress(network, ip, clientNamespace);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#parts.services.withHostname(hostname);
  }

  /** The service that a client of the namespace means by the hostname (WIRE 7, DNS), visibility respected. */
  serviceForHostname(hostname: string, clientNamespace: string): Service | undefined {
    return this.#parts.services.forHostname(hostname, clientNamespace);
  }

  policyByKey(key: PolicyKey): AuthorizationPolicy | undefined {
    return this.policies.get(key);
  }

  globalPolicies(): readonly AuthorizationPolicy[] {
    return this.#parts.policies.global;
  }

  namespacePolicies(namespace: string): readonly AuthorizationPolicy[] {
    return this.#parts.policies.ofNamespace(namespace);
  }

  /**
   * The candidates that decide about connections to the workload (WIRE 5). The array stays the same object, across
   * snapshots too, as long as its policies do not change.
   */
  policiesFor(workload: Workload): readonly AuthorizationPolicy[] {
    return this.#parts.policies.candidatesOf(workload);
  }

  /** The candidates that decide about a request at a waypoint; as stable as those of `policiesFor`. */
  policiesForRequest(scope: RequestScope): readonly AuthorizationPolicy[] {
    return this.#parts.policies.candidatesOfRequest(scope);
  }

  podByUid(uid: WorkloadUid): NodePod | undefined {
    return this.pods.get(uid);
  }

  /** A copy as plain maps: for dumps and diffs, not for lookups. */
  toModel(): Model {
    return {
      workloads: new Map(this.workloads.entries()),
      services: new Map(this.services.entries()),
      policies: new Map(this.policies.entries()),
      pods: new Map(this.pods.entries()),
      waypoints: new Map(this.waypoints.entries()),
      routings: new Map(this.routings.entries()),
      requestAuthentications: new Map(this.requestAuthentications.entries()),
      meshConfig: this.meshConfig,
      enrolledNamespaces: this.enrolledNamespaces,
    };
  }

  /** The next state. For the Store, which has checked that removed and stored keys are distinct. */
  with(delta: ModelDelta): Snapshot {
    const { workloads, services, policies } = this.#parts;
    const { removed } = delta;
    return new Snapshot(this.generation + 1, {
      workloads: workloads.apply(delta.removed.workloads, delta.workloads),
      services: services.apply(delta.removed.services, delta.services),
      policies: policies.apply(delta.removed.policies, delta.policies),
      pods: edited(this.pods, removed.pods, delta.pods, (pod) => pod.uid),
      waypoints: edited(this.waypoints, removed.waypoints, delta.waypoints, (waypoint) => waypoint.gateway),
      routings: edited(this.routings, removed.routings, delta.routings, (routing) => routing.key),
      requestAuthentications: edited(
        this.requestAuthentications,
        removed.requestAuthentications,
        delta.requestAuthentications,
        (authentication) => authentication.key,
      ),
      meshConfig: delta.meshConfig ?? this.meshConfig,
      enrolledNamespaces: delta.enrolledNamespaces ?? this.enrolledNamespaces,
    });
  }
}

function edited<K extends string, V>(
  map: ShardedMap<K, V>,
  removed: readonly K[],
  stored: readonly V[],
  keyOf: (value: V) => K,
): ShardedMap<K, V> {
  if (removed.length + stored.length === 0) return map;
  const edit = map.edit();
  for (const key of removed) edit.delete(key);
  for (const value of stored) edit.set(keyOf(value), value);
  return edit.finish();
}
