// Model changes into a ResourceStore: what the controller publishes and what nodes decode are the same values.
// Policies go in before the workloads that name them, pods after the workloads they belong to.

import type { ModelDelta } from '../model/model.ts';
import { encodeAuthorization } from './authorization-codec.ts';
import type { ResourceStore } from './resource-store.ts';
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
    upserted: delta.pods.map((pod) => ({ ...encodeNodePod(pod), owner: pod.node })),
    removed: removed.pods,
  });
}
