// A workload: one pod, one machine or one external endpoint that traffic can come from or go to.
// The fields mirror istio.workload.Workload so that the model survives a trip over the wire unchanged;
// defaults of the wire (empty trust domain, empty service account) are resolved before a value gets here.

import type { Brand } from './brand.ts';
import type { IpAddress } from './ip-address.ts';
import type { ServiceKey } from './service.ts';

export type WorkloadUid = Brand<string, 'WorkloadUid'>;
/** `namespace/name` of an AuthorizationPolicy. */
export type PolicyKey = Brand<string, 'PolicyKey'>;

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export interface PortMapping {
  readonly servicePort: number;
  readonly targetPort: number;
}

/** Where a waypoint or a network gateway listens: a Service hostname or an address. */
export interface GatewayAddress {
  readonly destination:
    | { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string }
    | { readonly kind: 'address'; readonly network: string; readonly address: IpAddress };
  readonly hboneMtlsPort: number;
}

/** `l4-only` goes on as if there was no waypoint: L4 policies are enforced, nothing else is. */
export type WaypointMissing = 'refuse' | 'l4-only';

export interface Workload {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  /** Network the addresses belong to; `''` is the default network. */
  readonly network: string;
  readonly addresses: readonly IpAddress[];
  /** Resolved by DNS on demand when there is no usable address; `''` if none. */
  readonly hostname: string;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly tunnelProtocol: 'none' | 'hbone';
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: 'deployment' | 'cronjob' | 'pod' | 'job';
  readonly workloadName: string;
  readonly clusterId: string;
  readonly health: 'healthy' | 'unhealthy';
  readonly networkMode: 'standard' | 'host-network';
  /** Load-balancing weight; 0 takes no traffic, 1 is the default. */
  readonly capacity: number;
  readonly locality: Locality;
  /** Services this workload is an endpoint of, with its own port overrides. */
  readonly services: ReadonlyMap<ServiceKey, readonly PortMapping[]>;
  /** Policies with scope `workload` that select this workload. */
  readonly authorizationPolicies: readonly PolicyKey[];
  readonly waypoint?: GatewayAddress;
  /** While no endpoint of the waypoint is ready; default `refuse`. */
  readonly waypointMissing?: WaypointMissing;
  readonly networkGateway?: GatewayAddress;
  readonly applicationTunnel?: { readonly protocol: 'none' | 'proxy'; readonly port: number };
}
