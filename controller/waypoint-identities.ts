// Which waypoints there are and who may be one, from the current model: what the certificate service grants to a
// waypoint, and which pods of a cluster speak for one. A waypoint that no Gateway of our class names is nobody.

import type { Model } from '../mesh/model/model.ts';
import type { GatewayKey } from '../mesh/model/routing.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';
import type { Waypoints } from './identity/certificate-service.ts';
import type { WaypointPod, WaypointPods } from './identity/token-review.ts';
import { objectKey, type Resources } from './resources/resources.ts';

/** On every pod of a Gateway (Gateway API, GEP-1762). */
const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name';

export class ModelWaypoints implements Waypoints, WaypointPods {
  #identities: ReadonlyMap<GatewayKey, Identity> = new Map();
  #pods: Resources['Pod'] = new Map();

  update(model: Model, resources: Pick<Resources, 'Pod'>): void {
    const { trustDomain } = model.meshConfig;
    const identities = new Map<GatewayKey, Identity>();
    for (const { gateway, serviceAccount } of model.waypoints.values()) {
      const [namespace = ''] = gateway.split('/');
      identities.set(gateway, { trustDomain, namespace, serviceAccount });
    }
    this.#identities = identities;
    this.#pods = resources.Pod;
  }

  identityOf(gateway: GatewayKey): Identity | undefined {
    return this.#identities.get(gateway);
  }

  gatewayOf({ namespace, name, serviceAccount }: WaypointPod): GatewayKey | undefined {
    const pod = this.#pods.get(objectKey(namespace, name));
    const label = pod?.metadata.labels[gatewayNameLabel];
    if (pod === undefined || label === undefined || pod.spec.serviceAccountName !== serviceAccount)
      return undefined;
    const gateway = `${namespace}/${label}` as GatewayKey;
    return this.#identities.get(gateway)?.serviceAccount === serviceAccount ? gateway : undefined;
  }
}
