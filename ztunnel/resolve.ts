// Where a captured connection is meant to go: pure, from the snapshot, before anything is dialled. A Service address
// comes before a workload address; what nobody claims is passed through or refused as the mesh is configured.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import { isLoopback } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import type { Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { isMeshPort } from './ports.ts';

export interface Destination {
  readonly address: IpAddress;
  readonly port: number;
}

export type Resolution =
  | { readonly kind: 'service'; readonly service: Service; readonly port: number }
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'passthrough' }
  | { readonly kind: 'refused'; readonly reason: string };

/** @param source the workload that connects; its network and namespace scope what it can reach. */
export function resolve(snapshot: Snapshot, source: Workload, destination: Destination): Resolution {
  const { address, port } = destination;
  if (isLoopback(address)) return refused(`loopback destination ${address} was captured`);
  const service = snapshot.serviceForAddress(source.network, address, source.namespace);
  if (service !== undefined) {
    if (service.waypoint !== undefined || service.weightedWaypoints.length > 0)
      return refused(`service ${service.hostname} requires a waypoint, which this version does not run`);
    if (service.loadBalancing.mode === 'passthrough') return { kind: 'passthrough' };
    return { kind: 'service', service, port };
  }
  const workload = snapshot.workloadByAddress(source.network, address);
  if (workload !== undefined) {
    if (isMeshPort(port) && workload.tunnelProtocol === 'hbone') {
      return refused(`port ${port} belongs to the mesh: a proxy loop`);
    }
    if (workload.waypoint !== undefined)
      return refused(`workload ${workload.name} requires a waypoint, which this version does not run`);
    return { kind: 'workload', workload };
  }
  if (snapshot.meshConfig.unknownDestinations === 'deny') {
    return refused(
      `no service or workload has the address ${address}, and MeshConfig denies unknown destinations`,
    );
  }
  return { kind: 'passthrough' };
}

function refused(reason: string): Resolution {
  return { kind: 'refused', reason };
}
