// Turns a delta response into a change of the model: the good resources are accepted and remembered, the bad ones
// are listed with their reasons, and the last good content of a bad one stays. Never throws, whatever was sent.

import type { Any } from '@bufbuild/protobuf/wkt';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import { defaultMeshConfig, type MeshConfig } from '../model/mesh-config.ts';
import { emptyDelta, type ModelDelta } from '../model/model.ts';
import type { NodePod } from '../model/node-pod.ts';
import type { RequestAuthentication, RequestAuthenticationKey } from '../model/request-authentication.ts';
import type { GatewayKey, RoutingKey, ServiceRouting, WaypointConfig } from '../model/routing.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { PolicyKey, Workload, WorkloadUid } from '../model/workload.ts';
import { AcceptedSet, keyText, type ModelKey } from './accepted-set.ts';
import { decodeAddress } from './address-codec.ts';
import { decodeAuthorization } from './authorization-codec.ts';
import type { DeltaDiscoveryResponse, Resource } from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { Decoded } from './resource.ts';
import {
  addressType,
  authorizationType,
  enrolledNamespacesType,
  httpAuthorizationType,
  meshConfigType,
  nodePodType,
  requestAuthenticationType,
  serviceRoutingType,
  waypointType,
  type XdsType,
} from './type-urls.ts';
import {
  decodeEnrolledNamespaces,
  decodeMeshConfig,
  decodeNodePod,
  enrolledNamespacesName,
  meshConfigName,
} from './weft-codec.ts';

export interface RefusedResource {
  readonly name: string;
  readonly reason: string;
}

export interface ReadResponse {
  readonly delta: ModelDelta;
  readonly refused: readonly RefusedResource[];
}

/** Given by whoever subscribes to documents: see document-decoders.ts. */
export interface DocumentDecoders {
  readonly [waypointType]: (any: Any) => Decoded<WaypointConfig>;
  readonly [serviceRoutingType]: (any: Any) => Decoded<ServiceRouting>;
  readonly [httpAuthorizationType]: (any: Any) => Decoded<AuthorizationPolicy>;
  readonly [requestAuthenticationType]: (any: Any) => Decoded<RequestAuthentication>;
}

type Value =
  | { readonly kind: 'workload'; readonly key: string; readonly value: Workload }
  | { readonly kind: 'service'; readonly key: string; readonly value: Service }
  | { readonly kind: 'policy'; readonly key: string; readonly value: AuthorizationPolicy }
  | { readonly kind: 'pod'; readonly key: string; readonly value: NodePod }
  | { readonly kind: 'waypoint'; readonly key: string; readonly value: WaypointConfig }
  | { readonly kind: 'routing'; readonly key: string; readonly value: ServiceRouting }
  | { readonly kind: 'requestAuthentication'; readonly key: string; readonly value: RequestAuthentication }
  | { readonly kind: 'enrolledNamespaces'; readonly key: string; readonly value: readonly string[] }
  | { readonly kind: 'meshConfig'; readonly key: string; readonly value: MeshConfig };

/** Kinds by type, in the order in which the name in a removal is tried (WIRE 3.2: workload uid, then service). */
const kindsOf: Readonly<Record<XdsType, readonly Value['kind'][]>> = {
  [addressType]: ['workload', 'service'],
  [authorizationType]: ['policy'],
  [nodePodType]: ['pod'],
  [enrolledNamespacesType]: ['enrolledNamespaces'],
  [meshConfigType]: ['meshConfig'],
  [waypointType]: ['waypoint'],
  [serviceRoutingType]: ['routing'],
  [httpAuthorizationType]: ['policy'],
  [requestAuthenticationType]: ['requestAuthentication'],
};

export class ResponseReader {
  readonly #typeUrl: XdsType;
  readonly #documents: DocumentDecoders | undefined;
  readonly accepted: AcceptedSet<Value['kind']>;

  /** Without `documents` a resource of a document type is refused. */
  constructor(typeUrl: XdsType, { documents }: { readonly documents?: DocumentDecoders | undefined } = {}) {
    this.#typeUrl = typeUrl;
    this.#documents = documents;
    this.accepted = new AcceptedSet(kindsOf[typeUrl]);
  }

  read(response: DeltaDiscoveryResponse): ReadResponse {
    const refused: RefusedResource[] = [];
    const values = new Map<string, Value>();
    const gone: ModelKey<Value['kind']>[] = [];
    for (const resource of response.resources) {
      const decoded = this.#decode(resource);
      if (decoded.ok) {
        values.set(keyText(decoded.value), decoded.value);
        const lost = this.accepted.accept(resource.name, resource.version, decoded.value);
        if (lost !== undefined) gone.push(lost);
      } else {
        refused.push({ name: resource.name, reason: decoded.reason });
        this.accepted.refuse(resource.name);
      }
    }
    for (const name of response.removedResources) {
      const lost = this.accepted.remove(name);
      if (lost !== undefined) gone.push(lost);
    }
    // A key that lost a name and found another in the same response is still there.
    const removed = new Map(
      gone.filter((key) => !this.accepted.hasKey(key)).map((key) => [keyText(key), key]),
    );
    for (const text of removed.keys()) values.delete(text);
    return { delta: toDelta([...values.values()], [...removed.values()]), refused };
  }

  #decode(resource: Resource): Decoded<Value> {
    const { name, resource: any } = resource;
    if (name === '') return { ok: false, reason: 'The resource has no name' };
    if (any === undefined) return { ok: false, reason: 'The resource has no content' };
    switch (this.#typeUrl) {
      case addressType:
        return convert(decodeAddress(any), (address) =>
          address.kind === 'workload'
            ? { kind: 'workload', key: address.workload.uid, value: address.workload }
            : { kind: 'service', key: address.service.key, value: address.service },
        );
      case authorizationType:
        return convert(decodeAuthorization(any, name), (value) => ({
          kind: 'policy',
          key: value.key,
          value,
        }));
      case nodePodType:
        return convert(decodeNodePod(any), (value) => ({ kind: 'pod', key: value.uid, value }));
      case enrolledNamespacesType:
        return convert(decodeEnrolledNamespaces(any), (value) => ({
          kind: 'enrolledNamespaces',
          key: enrolledNamespacesName,
          value,
        }));
      case meshConfigType:
        return convert(decodeMeshConfig(any), (value) => ({
          kind: 'meshConfig',
          key: meshConfigName,
          value,
        }));
      case waypointType:
      case serviceRoutingType:
      case httpAuthorizationType:
      case requestAuthenticationType:
        return decodeDocument(this.#typeUrl, any, { name, decoders: this.#documents });
    }
  }
}

function decodeDocument(
  typeUrl: keyof DocumentDecoders,
  any: Any,
  { name, decoders }: { name: string; decoders: DocumentDecoders | undefined },
): Decoded<Value> {
  if (decoders === undefined) return { ok: false, reason: `Resources of ${typeUrl} are not read here` };
  const decoded = documentValue(typeUrl, any, decoders);
  if (!decoded.ok || decoded.value.key === name) return decoded;
  return { ok: false, reason: `The document is "${decoded.value.key}" and came as "${name}"` };
}

function documentValue(
  typeUrl: keyof DocumentDecoders,
  any: Any,
  decoders: DocumentDecoders,
): Decoded<Value> {
  switch (typeUrl) {
    case waypointType:
      return convert(decoders[typeUrl](any), (value) => ({ kind: 'waypoint', key: value.gateway, value }));
    case serviceRoutingType:
      return convert(decoders[typeUrl](any), (value) => ({ kind: 'routing', key: value.key, value }));
    case httpAuthorizationType:
      return convert(decoders[typeUrl](any), (value) => ({ kind: 'policy', key: value.key, value }));
    case requestAuthenticationType:
      return convert(decoders[typeUrl](any), (value) => ({
        kind: 'requestAuthentication',
        key: value.key,
        value,
      }));
  }
}

function convert<From>(decoded: Decoded<From>, to: (value: From) => Value): Decoded<Value> {
  return decoded.ok ? { ok: true, value: to(decoded.value) } : decoded;
}

function toDelta(values: readonly Value[], gone: readonly ModelKey<Value['kind']>[]): ModelDelta {
  const valuesOf = <Kind extends Value['kind']>(kind: Kind) =>
    values.flatMap((item) =>
      item.kind === kind ? [item.value as Extract<Value, { kind: Kind }>['value']] : [],
    );
  const goneOf = <Key extends string>(kind: Value['kind']) =>
    gone.flatMap((item) => (item.kind === kind ? [item.key as Key] : []));
  const meshConfig =
    valuesOf('meshConfig')[0] ?? (goneOf('meshConfig').length > 0 ? defaultMeshConfig : undefined);
  const enrolledNamespaces =
    valuesOf('enrolledNamespaces')[0] ?? (goneOf('enrolledNamespaces').length > 0 ? [] : undefined);
  return {
    ...emptyDelta,
    workloads: valuesOf('workload'),
    services: valuesOf('service'),
    policies: valuesOf('policy'),
    pods: valuesOf('pod'),
    waypoints: valuesOf('waypoint'),
    routings: valuesOf('routing'),
    requestAuthentications: valuesOf('requestAuthentication'),
    ...(meshConfig && { meshConfig }),
    ...(enrolledNamespaces && { enrolledNamespaces }),
    removed: {
      ...emptyDelta.removed,
      workloads: goneOf<WorkloadUid>('workload'),
      services: goneOf<ServiceKey>('service'),
      policies: goneOf<PolicyKey>('policy'),
      pods: goneOf<WorkloadUid>('pod'),
      waypoints: goneOf<GatewayKey>('waypoint'),
      routings: goneOf<RoutingKey>('routing'),
      requestAuthentications: goneOf<RequestAuthenticationKey>('requestAuthentication'),
    },
  };
}
