// All objects the controller works from, by kind and key. Immutable; a source builds a new one for every change and
// translate() only reads it. Where the objects come from (directory, Kubernetes API) is not visible here.

import type { EndpointSlice, KubernetesService, Namespace, Node, Pod, ServiceAccount } from './core-kinds.ts';
import type { GatewayTypes } from './gateway-kinds.ts';
import type {
  AuthorizationPolicyObject,
  MeshConfigObject,
  PeerAuthenticationObject,
  RequestAuthenticationObject,
  ServiceEntryObject,
  TrafficPolicyObject,
  WorkloadEntryObject,
} from './own-kinds.ts';

interface OwnAndCoreTypes {
  Namespace: Namespace;
  Node: Node;
  Pod: Pod;
  Service: KubernetesService;
  ServiceAccount: ServiceAccount;
  EndpointSlice: EndpointSlice;
  AuthorizationPolicy: AuthorizationPolicyObject;
  PeerAuthentication: PeerAuthenticationObject;
  RequestAuthentication: RequestAuthenticationObject;
  TrafficPolicy: TrafficPolicyObject;
  ServiceEntry: ServiceEntryObject;
  WorkloadEntry: WorkloadEntryObject;
  MeshConfig: MeshConfigObject;
}

export type ResourceTypes = OwnAndCoreTypes & GatewayTypes;

export type KindName = keyof ResourceTypes;

/** An object with its kind, as a source hands it over. */
export type TypedObject = {
  [K in KindName]: { readonly kind: K; readonly object: ResourceTypes[K] };
}[KindName];

/** `namespace/name`, or `name` for a cluster-scoped object. */
export type ObjectKey = string;

export type Resources = { readonly [K in KindName]: ReadonlyMap<ObjectKey, ResourceTypes[K]> };

/** Names one object in messages and statuses. */
export interface ObjectReference {
  readonly kind: KindName;
  /** `''` for a cluster-scoped object. */
  readonly namespace: string;
  readonly name: string;
}

export function objectKey(namespace: string, name: string): ObjectKey {
  return namespace === '' ? name : `${namespace}/${name}`;
}

export function formatReference(reference: ObjectReference): string {
  return `${reference.kind} ${objectKey(reference.namespace, reference.name)}`;
}

/** Collects objects; the maps of the result are sorted by key, whatever the order of adding. */
export function buildResources(objects: Iterable<TypedObject>): Resources {
  const maps = emptyMaps();
  for (const { kind, object } of objects) {
    (maps[kind] as Map<ObjectKey, unknown>).set(
      objectKey(object.metadata.namespace, object.metadata.name),
      object,
    );
  }
  for (const kind of Object.keys(maps) as KindName[]) sortInPlace(maps[kind]);
  return maps;
}

export function emptyMaps(): { [K in KindName]: Map<ObjectKey, ResourceTypes[K]> } {
  return {
    Namespace: new Map(),
    Node: new Map(),
    Pod: new Map(),
    Service: new Map(),
    ServiceAccount: new Map(),
    EndpointSlice: new Map(),
    AuthorizationPolicy: new Map(),
    PeerAuthentication: new Map(),
    RequestAuthentication: new Map(),
    TrafficPolicy: new Map(),
    ServiceEntry: new Map(),
    WorkloadEntry: new Map(),
    MeshConfig: new Map(),
    GatewayClass: new Map(),
    Gateway: new Map(),
    HTTPRoute: new Map(),
    GRPCRoute: new Map(),
    TCPRoute: new Map(),
    TLSRoute: new Map(),
    ReferenceGrant: new Map(),
  };
}

function sortInPlace(map: Map<ObjectKey, unknown>): void {
  const sorted = [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  map.clear();
  for (const [key, value] of sorted) map.set(key, value);
}
