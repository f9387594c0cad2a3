// A service while it is put together: endpoints and traffic policies are joined to it by later steps.

import { serviceKey } from '../../mesh/model/key.ts';
import type { LoadBalancing, Service, ServicePort } from '../../mesh/model/service.ts';
import type { TrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { GatewayAddress, WaypointMissing } from '../../mesh/model/workload.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';

export interface ServiceDraft {
  readonly kind: 'Service' | 'ServiceEntry';
  readonly metadata: ObjectMeta;
  readonly service: Service;
  /** Target port by name, for ports whose number each endpoint knows itself. Keyed by service port. */
  readonly namedTargets: ReadonlyMap<number, string>;
  trafficPolicy?: TrafficPolicy;
  waypoint?: GatewayAddress;
  waypointMissing?: WaypointMissing;
  /** From a TrafficPolicy; replaces the service's own. */
  loadBalancing?: LoadBalancing;
}

export const defaultLoadBalancing: LoadBalancing = {
  mode: 'unspecified',
  routingPreference: [],
  healthPolicy: 'only-healthy',
};

export function emptyService(namespace: string, name: string, hostname: string): Service {
  return {
    key: serviceKey(namespace, hostname),
    name,
    namespace,
    hostname,
    addresses: [],
    ports: [],
    subjectAltNames: [],
    weightedWaypoints: [],
    loadBalancing: defaultLoadBalancing,
    ipFamilies: 'automatic',
    canonical: false,
    visibility: 'public',
  };
}

export function finishService(draft: ServiceDraft): Service {
  return {
    ...draft.service,
    ...(draft.loadBalancing === undefined ? {} : { loadBalancing: draft.loadBalancing }),
    ...(draft.trafficPolicy === undefined ? {} : { trafficPolicy: draft.trafficPolicy }),
    ...(draft.waypoint === undefined ? {} : { waypoint: draft.waypoint }),
    ...(draft.waypointMissing === undefined ? {} : { waypointMissing: draft.waypointMissing }),
  };
}

/** Istio's reading of appProtocol and of the prefix of a port's name (`http-admin`). */
export function appProtocolOf(appProtocol: string | undefined, portName: string): ServicePort['appProtocol'] {
  const word = (appProtocol ?? portName.split('-')[0] ?? '').toLowerCase();
  switch (word) {
    case 'http':
    case 'kubernetes.io/ws':
      return 'http11';
    case 'http2':
    case 'kubernetes.io/h2c':
      return 'http2';
    case 'grpc':
    case 'grpc-web':
      return 'grpc';
    case 'tcp':
      return 'tcp';
    case 'tls':
    case 'https':
    case 'kubernetes.io/wss':
      return 'tls';
    default:
      return 'unknown';
  }
}
