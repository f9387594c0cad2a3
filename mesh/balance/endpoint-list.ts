// The endpoints of one service port that a source may be sent to, as tiers of weighted candidates: the filter of
// WIRE.md 6.1. Built once for each change of the service or its endpoints; picks only read it.

import { type IpAddress, isIpv6 } from '../model/ip-address.ts';
import type { Service } from '../model/service.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import type { EndpointHealth } from './endpoint-health.ts';
import type { EndpointLoad } from './endpoint-load.ts';
import type { HttpStatistics } from './http-outliers.ts';
import { localityTiers } from './locality.ts';
import { Tier } from './tier.ts';

export interface EndpointTarget {
  readonly workload: Workload;
  /**
   * Undefined if the workload has none: then `workload.hostname` is to be resolved, or the endpoint is on another
   * network and reached through `workload.networkGateway`.
   */
  readonly address: IpAddress | undefined;
  /** Target port, 1 to 65535. */
  readonly port: number;
}

/** What a worker remembers of one endpoint across configuration changes. */
export interface EndpointState {
  readonly uid: WorkloadUid;
  readonly health: EndpointHealth;
  readonly load: EndpointLoad;
  readonly http: HttpStatistics;
}

export interface Candidate extends EndpointTarget {
  /** Capacity, at least 1. */
  readonly weight: number;
  readonly state: EndpointState;
  /** When it came, monotonic ms: it may have to start slowly. */
  readonly since: number;
}

export interface EndpointQuery {
  readonly source: Workload;
  readonly service: Service;
  readonly servicePort: number;
  /** Address family the client dialled; endpoints of the other one are used when there is nothing better. */
  readonly family: 4 | 6;
}

/**
 * Tiers of the usable endpoints, the nearest first; empty if there is none.
 * @param memory.sinceOf when an endpoint came to the service
 */
export function buildTiers(
  workloads: readonly Workload[],
  query: EndpointQuery,
  memory: {
    readonly stateOf: (uid: WorkloadUid) => EndpointState;
    readonly sinceOf: (uid: WorkloadUid) => number;
  },
): readonly Tier[] {
  const { source, service } = query;
  const all: Candidate[] = [];
  for (const workload of workloads) {
    const target = endpointTarget(workload, query);
    if (target === undefined) continue;
    const { address, port } = target;
    const state = memory.stateOf(workload.uid);
    const since = memory.sinceOf(workload.uid);
    all.push({ workload, address, port, weight: workload.capacity, state, since });
  }
  const tiers = localityTiers(all, {
    source,
    loadBalancing: service.loadBalancing,
    placeOf: (candidate) => candidate.workload,
  });
  return tiers
    .map((candidates) => new Tier(candidates.filter(isUsable), { knownWeight: weightOf(candidates) }))
    .filter((tier) => tier.candidates.length > 0);

  function isUsable({ workload }: Candidate): boolean {
    return workload.health === 'healthy' || service.loadBalancing.healthPolicy === 'allow-all';
  }
}

function weightOf(candidates: readonly Candidate[]): number {
  return candidates.reduce((sum, { weight }) => sum + weight, 0);
}

/** Where the workload serves the service's port, healthy or not; undefined if it must not get traffic for it. */
export function endpointTarget(workload: Workload, query: EndpointQuery): EndpointTarget | undefined {
  const { service, source } = query;
  if (!(workload.capacity > 0)) return undefined;
  const address = pickAddress(workload, service, query.family);
  const behindGateway = workload.network !== source.network;
  if (behindGateway && workload.networkGateway === undefined) return undefined;
  if (address === undefined && workload.hostname === '' && !behindGateway) return undefined;
  const port = targetPort(workload, service, query.servicePort);
  return port === undefined ? undefined : { workload, address, port };
}

/** The endpoint's own mapping, then the service's target port, then the port itself for an application tunnel. */
function targetPort(workload: Workload, service: Service, servicePort: number): number | undefined {
  const mapping = workload.services
    .get(service.key)
    ?.find((candidate) => candidate.servicePort === servicePort);
  if (mapping !== undefined && mapping.targetPort > 0) return mapping.targetPort;
  const declared = service.ports.find((candidate) => candidate.servicePort === servicePort);
  if (declared !== undefined && declared.targetPort > 0) return declared.targetPort;
  return (workload.applicationTunnel?.port ?? 0) > 0 ? servicePort : undefined;
}

/** The client's family if the service allows it, then the other one if it allows that, then what there is. */
function pickAddress(workload: Workload, service: Service, family: 4 | 6): IpAddress | undefined {
  const { addresses } = workload;
  if (addresses.length <= 1) return addresses[0];
  const other = family === 4 ? 6 : 4;
  const allowed = (candidate: 4 | 6): boolean =>
    service.ipFamilies !== (candidate === 4 ? 'ipv6-only' : 'ipv4-only');
  const ofFamily = (candidate: 4 | 6): IpAddress | undefined =>
    allowed(candidate) ? addresses.find((address) => isIpv6(address) === (candidate === 6)) : undefined;
  return ofFamily(family) ?? ofFamily(other) ?? addresses[0];
}
