// Model changes into a ResourceStore: what the controller publishes and what nodes and waypoints decode are the same
// values. Policies go in before the workloads that name them, pods after the workloads they belong to.

import { toL4 } from '../authz/l4-projection.ts';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { Model, ModelDelta } from '../model/model.ts';
import type { NodePod } from '../model/node-pod.ts';
import type { ServiceRouting, WaypointConfig } from '../model/routing.ts';
import { encodeAuthorization } from './authorization-codec.ts';
import { waypointOwner } from './caller.ts';
import { encodeHttpAuthorization } from './http-authorization-codec.ts';
import { encodeRequestAuthentication } from './request-authentication-codec.ts';
import type { ResourceStore, StoredResource } from './resource-store.ts';
import { encodeServiceRouting } from './routing-codec.ts';
import { encodeService } from './service-codec.ts';
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
} from './type-urls.ts';
import { encodeWaypoint } from './waypoint-codec.ts';
import { encodeEnrolledNamespaces, encodeMeshConfig, encodeNodePod } from './weft-codec.ts';
import { encodeWorkload } from './workload-codec.ts';

/** Pushes follow by themselves, debounced; a value that is on the wire already is no change. */
export function publish(store: ResourceStore, delta: ModelDelta): void {
  const { removed } = delta;
  if (delta.meshConfig) store.apply(meshConfigType, { upserted: [encodeMeshConfig(delta.meshConfig)] });
  if (delta.enrolledNamespaces) {
    store.apply(enrolledNamespacesType, { upserted: [encodeEnrolledNamespaces(delta.enrolledNamespaces)] });
  }
  // A policy that came to concern waypoints only is gone for node tunnels.
  const unsent = delta.policies.filter((policy) => toL4(policy) === undefined).map(({ key }) => key);
  store.apply(authorizationType, {
    upserted: delta.policies.flatMap(encodeL4),
    removed: [...removed.policies, ...unsent],
  });
  store.apply(httpAuthorizationType, {
    upserted: delta.policies.map(encodeHttpAuthorization),
    removed: removed.policies,
  });
  store.apply(requestAuthenticationType, {
    upserted: delta.requestAuthentications.map(encodeRequestAuthentication),
    removed: removed.requestAuthentications,
  });
  store.apply(addressType, {
    upserted: [...delta.services.map(encodeService), ...delta.workloads.map(encodeWorkload)],
    removed: [...removed.services, ...removed.workloads],
  });
  store.apply(serviceRoutingType, { upserted: delta.routings.map(encodeRouting), removed: removed.routings });
  store.apply(waypointType, { upserted: delta.waypoints.map(encodeConfig), removed: removed.waypoints });
  store.apply(nodePodType, { upserted: delta.pods.map(encodePod), removed: removed.pods });
}

/** The whole model at once; what it does not hold is removed. */
export function publishModel(store: ResourceStore, model: Model): void {
  const policies = [...model.policies.values()];
  store.set(meshConfigType, [encodeMeshConfig(model.meshConfig)]);
  store.set(enrolledNamespacesType, [encodeEnrolledNamespaces(model.enrolledNamespaces)]);
  store.set(authorizationType, policies.flatMap(encodeL4));
  store.set(httpAuthorizationType, policies.map(encodeHttpAuthorization));
  const authentications = [...model.requestAuthentications.values()];
  store.set(requestAuthenticationType, authentications.map(encodeRequestAuthentication));
  const services = [...model.services.values()].map(encodeService);
  const workloads = [...model.workloads.values()].map(encodeWorkload);
  store.set(addressType, [...services, ...workloads]);
  store.set(serviceRoutingType, [...model.routings.values()].map(encodeRouting));
  store.set(waypointType, [...model.waypoints.values()].map(encodeConfig));
  store.set(nodePodType, [...model.pods.values()].map(encodePod));
}

function encodeL4(policy: AuthorizationPolicy): readonly StoredResource[] {
  const projection = toL4(policy);
  return projection === undefined ? [] : [encodeAuthorization(projection)];
}

/** Only the pod's own node is told of it. */
function encodePod(pod: NodePod): StoredResource {
  return { ...encodeNodePod(pod), owner: pod.node };
}

/** Only the waypoint itself is told of its settings and routes. */
function encodeConfig(config: WaypointConfig): StoredResource {
  return { ...encodeWaypoint(config), owner: waypointOwner(config.gateway) };
}

function encodeRouting(routing: ServiceRouting): StoredResource {
  return { ...encodeServiceRouting(routing), owner: waypointOwner(routing.gateway) };
}
