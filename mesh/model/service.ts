// A service: a name and virtual addresses in front of workloads. Mirrors istio.workload.Service plus what only
// Weft carries in its extension (port names for SRV records, the L4 part of a TrafficPolicy).

import type { Brand } from './brand.ts';
import type { IpAddress } from './ip-address.ts';
import type { TrafficPolicy } from './traffic-policy.ts';
import type { GatewayAddress, WaypointMissing } from './workload.ts';

/** `namespace/hostname`, for example `shop/api.shop.svc.cluster.local`. */
export type ServiceKey = Brand<string, 'ServiceKey'>;

export type LocalityScope = 'region' | 'zone' | 'subzone' | 'node' | 'cluster' | 'network';

export interface ServicePort {
  /** Name for SRV records; `''` if unnamed. */
  readonly name: string;
  readonly servicePort: number;
  /** 0 for a named target port: each endpoint then brings its own mapping. */
  readonly targetPort: number;
  readonly appProtocol: 'unknown' | 'http11' | 'http2' | 'grpc' | 'tcp' | 'tls';
}

export interface VirtualAddress {
  readonly network: string;
  readonly address: IpAddress;
  /** Prefix length; 32 or 128 for a single address. */
  readonly length: number;
}

export interface LoadBalancing {
  readonly mode: 'unspecified' | 'strict' | 'failover' | 'passthrough';
  readonly routingPreference: readonly LocalityScope[];
  readonly healthPolicy: 'only-healthy' | 'allow-all';
}

export interface Service {
  readonly key: ServiceKey;
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** Empty for a headless service. */
  readonly addresses: readonly VirtualAddress[];
  readonly ports: readonly ServicePort[];
  /** SPIFFE URIs accepted from endpoints beside the endpoint's own identity. */
  readonly subjectAltNames: readonly string[];
  readonly waypoint?: GatewayAddress;
  /** While no endpoint of the waypoint is ready; default `refuse`. */
  readonly waypointMissing?: WaypointMissing;
  readonly weightedWaypoints: readonly { readonly destination: GatewayAddress; readonly weight: number }[];
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: 'automatic' | 'ipv4-only' | 'ipv6-only' | 'dual';
  /** Preferred when several services claim one hostname or address. */
  readonly canonical: boolean;
  readonly visibility: 'public' | 'namespace';
  readonly trafficPolicy?: TrafficPolicy;
}
