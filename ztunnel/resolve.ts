// Where a captured connection is meant to go: pure, from the snapshot, before anything is dialled. A Service address
// comes before a workload address; what has a waypoint goes there, never past it; what nobody claims is passed through
// or refused as the mesh is configured.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import { isLoopback } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { ResponseFlag } from './connection-info.ts';
import { isMeshPort } from './ports.ts';
import {
  isPodOf,
  isReady,
  locateWaypoint,
  type WaypointLocation,
  waypointName,
  waypointOf,
} from './waypoint.ts';

export interface Destination {
  readonly address: IpAddress;
  readonly port: number;
}

export interface ResolveRequest {
  /** The workload that connects; its network and namespace scope what it can reach. */
  readonly source: Workload;
  readonly destination: Destination;
  /** Uniform in [0, 1): chooses among weighted waypoints. */
  readonly random: () => number;
}

/** Without a waypoint in between. */
export type DirectResolution =
  | { readonly kind: 'service'; readonly service: Service; readonly port: number }
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'passthrough' };

export type Resolution =
  | DirectResolution
  | {
      readonly kind: 'waypoint';
      readonly waypoint: WaypointLocation;
      /** The Service that was asked for; undefined for a pod's own address. */
      readonly service: Service | undefined;
    }
  | { readonly kind: 'refused'; readonly reason: string; readonly flag: ResponseFlag };

export function resolve(snapshot: Snapshot, request: ResolveRequest): Resolution {
  const { source, destination } = request;
  const { address, port } = destination;
  if (isLoopback(address)) return refused(`loopback destination ${address} was captured`);
  const service = snapshot.serviceForAddress(source.network, address, source.namespace);
  if (service !== undefined) return resolveService(snapshot, service, request);
  const workload = snapshot.workloadByAddress(source.network, address);
  if (workload !== undefined) {
    if (isMeshPort(port) && workload.tunnelProtocol === 'hbone') {
      return refused(`port ${port} belongs to the mesh: a proxy loop`);
    }
    return throughWaypoint(snapshot, source, {
      name: `workload ${workload.name}`,
      gateway: workload.waypoint,
      mayBypass: workload.waypointMissing === 'l4-only',
      service: undefined,
      direct: { kind: 'workload', workload },
    });
  }
  if (snapshot.meshConfig.unknownDestinations === 'deny') {
    return refused(
      `no service or workload has the address ${address}, and MeshConfig denies unknown destinations`,
    );
  }
  return { kind: 'passthrough' };
}

function resolveService(
  snapshot: Snapshot,
  service: Service,
  { source, destination, random }: ResolveRequest,
): Resolution {
  const passes = service.loadBalancing.mode === 'passthrough';
  const { port } = destination;
  if (!passes && !service.ports.some(({ servicePort }) => servicePort === port))
    return refused(`Service "${service.hostname}" has no port ${port}`);
  return throughWaypoint(snapshot, source, {
    name: `service ${service.hostname}`,
    gateway: waypointOf(service, random),
    mayBypass: service.waypointMissing === 'l4-only',
    service,
    direct: passes ? { kind: 'passthrough' } : { kind: 'service', service, port },
  });
}

interface Wanted {
  /** For messages. */
  readonly name: string;
  readonly gateway: GatewayAddress | undefined;
  /** Goes on without its waypoint while no endpoint of that is ready. */
  readonly mayBypass: boolean;
  readonly service: Service | undefined;
  readonly direct: DirectResolution;
}

function throughWaypoint(
  snapshot: Snapshot,
  source: Workload,
  { name, gateway, mayBypass, service, direct }: Wanted,
): Resolution {
  if (gateway === undefined) return direct;
  const waypoint = locateWaypoint(snapshot, gateway, source);
  if (waypoint !== undefined && isPodOf(waypoint, source)) return direct;
  if (waypoint !== undefined && isReady(snapshot, waypoint)) return { kind: 'waypoint', waypoint, service };
  if (mayBypass) return direct;
  const missing = waypoint === undefined ? 'which does not exist' : 'which has no ready endpoint';
  return refused(
    `${name} is reached through waypoint ${waypointName(gateway)} only, ${missing} (weft.dev/waypoint-missing: l4-only would let it past)`,
    'UH',
  );
}

function refused(reason: string, flag: ResponseFlag = 'CONNECT'): Resolution {
  return { kind: 'refused', reason, flag };
}
