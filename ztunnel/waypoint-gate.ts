// The inbound half of "waypoint required": who may connect to a workload that has a waypoint. Its waypoint, proven by
// identity, has enforced every policy with the real client's identity and is trusted; everybody else is refused, so that
// nobody gets past the waypoint by dialling the pod. Pure.

import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { hasIdentityOf, isReady, locateWaypoint, waypointName } from './waypoint.ts';

export type Passage =
  /** No waypoint stands before the workload: its own policies decide. */
  | { readonly kind: 'direct' }
  /** From the waypoint, which has asked all policies. */
  | { readonly kind: 'from-waypoint' }
  | { readonly kind: 'refused'; readonly reason: string };

const direct: Passage = { kind: 'direct' };
const fromWaypoint: Passage = { kind: 'from-waypoint' };

/** @param peer the caller's proven identity; undefined for plaintext. */
export function passage(snapshot: Snapshot, workload: Workload, peer: Identity | undefined): Passage {
  if (workload.waypoint === undefined) return direct;
  if (peer !== undefined && isWaypointOf(snapshot, workload, peer)) return fromWaypoint;
  if (
    workload.waypointMissing === 'l4-only' &&
    !isReady(snapshot, locate(snapshot, workload, workload.waypoint))
  )
    return direct;
  const caller = peer === undefined ? 'a caller without identity' : formatSpiffeId(peer);
  return {
    kind: 'refused',
    reason: `connection denied: workload ${workload.name} is reached through its waypoint ${waypointName(workload.waypoint)} only, and this is ${caller}`,
  };
}

/** True if `peer` is the workload's waypoint, or one of a Service that it serves. */
export function isWaypointOf(snapshot: Snapshot, workload: Workload, peer: Identity): boolean {
  const admits = (gateway: GatewayAddress | undefined): boolean => {
    if (gateway === undefined) return false;
    const location = locate(snapshot, workload, gateway);
    return location !== undefined && hasIdentityOf(snapshot, location, peer);
  };
  if (admits(workload.waypoint)) return true;
  for (const key of workload.services.keys()) {
    const service = snapshot.serviceByKey(key);
    if (service === undefined) continue;
    if (admits(service.waypoint)) return true;
    if (service.weightedWaypoints.some(({ destination }) => admits(destination))) return true;
  }
  return false;
}

function locate(snapshot: Snapshot, workload: Workload, gateway: GatewayAddress) {
  return locateWaypoint(snapshot, gateway, workload);
}
