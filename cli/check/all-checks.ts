// Every check of `weft check`, in the order in which things build on each other: what is wrong above is often the cause of
// what is wrong below.

import { checkApi } from './api-check.ts';
import { checkCaptures } from './captures-check.ts';
import { checkCertificates } from './certificates-check.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { checkCni } from './cni-check.ts';
import { checkController } from './controller-check.ts';
import { checkDefinitions } from './definitions-check.ts';
import type { CheckResult } from './finding.ts';
import { checkNetworkPolicies } from './network-policies-check.ts';
import { checkNodeTunnels } from './node-tunnels-check.ts';
import { checkNodes } from './nodes-check.ts';
import { checkWaypoints } from './waypoints-check.ts';

const checks = [
  checkApi,
  checkDefinitions,
  checkController,
  checkNodeTunnels,
  checkNodes,
  checkCni,
  checkCertificates,
  checkCaptures,
  checkWaypoints,
  checkNetworkPolicies,
] as const;

/** What has nothing to look at, or could not be read, is left out; the first result then says why. */
export function runChecks(facts: ClusterFacts): readonly CheckResult[] {
  return checks.map((check) => check(facts)).filter((result) => result !== undefined);
}
