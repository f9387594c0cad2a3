// Which endpoints of a service are near enough: the ranks of WIRE.md 6.1. Knows nothing of health or load; those
// choose within a tier, and a tier with nobody left falls through to the next.

import type { LoadBalancing, LocalityScope } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';

/** What of a workload says where it is. */
export type Place = Pick<Workload, 'network' | 'node' | 'clusterId' | 'locality'>;

/** How many leading scopes of the preference source and target share, so that the first scope listed dominates. */
export function localityRank(source: Place, target: Place, preference: readonly LocalityScope[]): number {
  let rank = 0;
  while (rank < preference.length && sameScope(source, target, preference[rank] as LocalityScope)) rank++;
  return rank;
}

/**
 * Splits endpoints into tiers, the nearest first, keeping their order. `strict` leaves only endpoints that share every
 * scope, `failover` has one tier a rank, and the other modes ignore the place.
 */
export function localityTiers<T>(
  endpoints: readonly T[],
  options: {
    readonly source: Place;
    readonly loadBalancing: LoadBalancing;
    readonly placeOf: (endpoint: T) => Place;
  },
): T[][] {
  const { source, loadBalancing, placeOf } = options;
  const { mode, routingPreference } = loadBalancing;
  if (endpoints.length === 0) return [];
  if (!dependsOnPlace(loadBalancing)) return [[...endpoints]];
  const tiers: T[][] = Array.from({ length: routingPreference.length + 1 }, () => []);
  for (const endpoint of endpoints) {
    tiers[localityRank(source, placeOf(endpoint), routingPreference)]?.push(endpoint);
  }
  const nearestFirst = mode === 'strict' ? tiers.slice(-1) : tiers.reverse();
  return nearestFirst.filter((tier) => tier.length > 0);
}

/** Below this share of healthy weight the near endpoints begin to hand over; Envoy's overprovisioning of 1.4 says the same. */
const overflowBelow = 0.7;

/**
 * Share of the traffic that the nearer endpoints keep when there are others: all while enough of them are healthy, then
 * in proportion, so that the few that are left are not overrun.
 * @param inRotation weight of those that may be picked
 * @param known weight of all that are there
 */
export function keptShare(inRotation: number, known: number): number {
  return known <= 0 ? 0 : Math.min(1, inRotation / known / overflowBelow);
}

/** Whether the choice is another one for a source elsewhere. */
export function dependsOnPlace({ mode, routingPreference }: LoadBalancing): boolean {
  return (mode === 'strict' || mode === 'failover') && routingPreference.length > 0;
}

export function samePlace(a: Place, b: Place): boolean {
  return (
    a.network === b.network &&
    a.node === b.node &&
    a.clusterId === b.clusterId &&
    a.locality.region === b.locality.region &&
    a.locality.zone === b.locality.zone &&
    a.locality.subzone === b.locality.subzone
  );
}

function sameScope(source: Place, target: Place, scope: LocalityScope): boolean {
  switch (scope) {
    case 'region':
      return source.locality.region === target.locality.region;
    case 'zone':
      return source.locality.zone === target.locality.zone;
    case 'subzone':
      return source.locality.subzone === target.locality.subzone;
    case 'node':
      return source.node === target.node;
    case 'cluster':
      return source.clusterId === target.clusterId;
    case 'network':
      return source.network === target.network;
  }
}
