// Whether every Gateway that is a waypoint runs and is programmed.

import type { ClusterFacts, GatewayFact } from './cluster-facts.ts';
import { type CheckResult, counted, type Finding } from './finding.ts';

export const waypointClass = 'weft-waypoint';

export function checkWaypoints({ gateways }: ClusterFacts): CheckResult | undefined {
  const waypoints = gateways?.filter(({ spec }) => spec.gatewayClassName === waypointClass);
  if (waypoints === undefined || waypoints.length === 0) return undefined;
  return {
    group: 'Waypoints',
    summary: counted(waypoints.length, 'Gateway'),
    findings: waypoints.flatMap(findingOf),
  };
}

function findingOf({ metadata, status }: GatewayFact): readonly Finding[] {
  const { name, namespace = '' } = metadata;
  for (const type of ['Accepted', 'Programmed']) {
    const condition = status?.conditions?.find((candidate) => candidate.type === type);
    if (condition?.status === 'True') continue;
    const { reason = 'no reason', message = '' } = condition ?? {};
    const because =
      condition === undefined ? 'nobody has said' : `${reason}${message === '' ? '' : `: ${message}`}`;
    return [
      {
        level: 'error',
        where: `gateway ${namespace}/${name}`,
        what: `is not ${type} (${because})`,
        why: 'connections to what it serves are refused, so that its policies are not passed by',
        fix: `kubectl -n ${namespace} describe gateway ${name}; kubectl -n ${namespace} get pods -l gateway.networking.k8s.io/gateway-name=${name}`,
      },
    ];
  }
  return [];
}
