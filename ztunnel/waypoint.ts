// Where the waypoint of a service or workload is, and who counts as it: pure look-ups in a snapshot, for both ends of a
// connection. A waypoint is ready while the model has one usable endpoint of it, so that both nodes decide alike; what
// a node learns by dialling (outliers) chooses among endpoints, never past them.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import { serviceKey } from '../mesh/model/key.ts';
import type { Service } from '../mesh/model/service.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';

/** A waypoint that the snapshot knows: behind a Service, or a single workload named by its address. */
export type WaypointLocation =
  | { readonly kind: 'service'; readonly service: Service; readonly port: number }
  | {
      readonly kind: 'workload';
      readonly workload: Workload;
      readonly address: IpAddress;
      readonly port: number;
    };

/** Which waypoint a new connection to the service takes: a weighted one where any has weight, else the only one. */
export function waypointOf(
  service: Pick<Service, 'waypoint' | 'weightedWaypoints'>,
  random: () => number,
): GatewayAddress | undefined {
  let total = 0;
  for (const { weight } of service.weightedWaypoints) total += weight;
  if (total === 0) return service.waypoint;
  let point = random() * total;
  for (const { destination, weight } of service.weightedWaypoints) {
    point -= weight;
    if (point < 0) return destination;
  }
  return service.waypoint;
}

/** @param scope network and namespace that an address is looked up for. */
export function locateWaypoint(
  snapshot: Snapshot,
  { destination, hboneMtlsPort: port }: GatewayAddress,
  scope: { readonly namespace: string },
): WaypointLocation | undefined {
  if (destination.kind === 'hostname') {
    const service = snapshot.serviceByKey(serviceKey(destination.namespace, destination.hostname));
    return service === undefined ? undefined : { kind: 'service', service, port };
  }
  const { network, address } = destination;
  const service = snapshot.serviceForAddress(network, address, scope.namespace);
  if (service !== undefined) return { kind: 'service', service, port };
  const workload = snapshot.workloadByAddress(network, address);
  return workload === undefined ? undefined : { kind: 'workload', workload, address, port };
}

/** True while new connections have somewhere to go. */
export function isReady(snapshot: Snapshot, location: WaypointLocation | undefined): boolean {
  if (location === undefined) return false;
  if (location.kind === 'workload') return location.workload.health === 'healthy';
  const { service } = location;
  const anyHealth = service.loadBalancing.healthPolicy === 'allow-all';
  return snapshot
    .endpointsOf(service.key)
    .some(({ capacity, health }) => capacity > 0 && (anyHealth || health === 'healthy'));
}

/** True for a pod of the waypoint itself, whose connections must not come back to it (WIRE 6.1 step 7). */
export function isPodOf(location: WaypointLocation, workload: Workload): boolean {
  return location.kind === 'service'
    ? workload.services.has(location.service.key)
    : location.workload.uid === workload.uid;
}

/**
 * True if `peer` is the proven identity of a pod of the waypoint, of any health: one that is being stopped still has
 * requests to finish. Identities that the waypoint's Service names count also while no pod of it is known here.
 */
export function hasIdentityOf(snapshot: Snapshot, location: WaypointLocation, peer: Identity): boolean {
  if (location.kind === 'workload') return sameIdentity(location.workload, peer);
  const { service } = location;
  return (
    snapshot.endpointsOf(service.key).some((endpoint) => sameIdentity(endpoint, peer)) ||
    (service.subjectAltNames.length > 0 && service.subjectAltNames.includes(formatSpiffeId(peer)))
  );
}

/** For messages: its hostname or address. */
export function waypointName({ destination }: GatewayAddress): string {
  return destination.kind === 'hostname' ? destination.hostname : destination.address;
}

function sameIdentity(workload: Workload, peer: Identity): boolean {
  return (
    workload.serviceAccount === peer.serviceAccount &&
    workload.namespace === peer.namespace &&
    workload.trustDomain === peer.trustDomain
  );
}
