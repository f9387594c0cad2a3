// Model changes into a ResourceStore: what the controller publishes and what nodes decode are the same values.
// Policies go in before the workloads that name them, pods after the workloads they belong to.

import type { Model, ModelDelta } from '../model/model.ts';
import type { NodePod } from '../model/node-pod.ts';
import { encodeAuthorization } from './authorization-codec.ts';
import type { ResourceStore, StoredResource } from './resource-store.ts';
import { encodeService } from './service-codec.ts';
import { addressType, authorizationType, meshConfigType, nodePodType } from './type-urls.ts';
import { encodeMeshConfig, encodeNodePod } from './weft-codec.ts';
import { encodeWorkload } from './workload-codec.ts';

/** Pushes follow by themselves, debounced; a value that is on the wire already is no change. */
export function publish(store: ResourceStore, delta: ModelDelta): void {
  const { removed } = delta;
  if (delta.meshConfig) store.apply(meshConfigType, { upserted: [encodeMeshConfig(delta.meshConfig)] });
  store.apply(authorizationType, {
    upserted: delta.policies.map(encodeAuthorization),
    removed: removed.policies,
  });
  store.apply(addressType, {
    upserted: [...delta.services.map(encodeService), ...delta.workloads.map(encodeWorkload)],
    removed: [...removed.services, ...removed.workloads],
  });
  store.apply(nodePodType, {
    upserted: delta.pods.map(encodePod),
    removed: removed.pods,
  });
}

/** The whole model at once; what it does not hold is removed. */
export function publishModel(store: ResourceStore, model: Model): void {
  store.set(meshConfigType, [encodeMeshConfig(model.meshConfig)]);
  store.set(authorizationType, [...model.policies.values()].map(encodeAuthorization));
  const services = [...model.services.values()].map(encodeService);
  const workloads = [...model.workloads.values()].map(encodeWorkload);
  store.set(addressType, [...services, ...workloads]);
  store.set(nodePodType, [...model.pods.values()].map(encodePod));
}

/** Only the pod's own node is told of it. */
function encodePod(pod: NodePod): StoredResource {
  return { ...encodeNodePod(pod), owner: pod.node };
}
