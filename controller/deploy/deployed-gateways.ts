// Between translation and the deployer: which Gateways are to be run, with which parameters, and what the deployer's
// problems mean for their statuses.

import type { Model } from '../../mesh/model/model.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import { gatewayKeyOf } from '../translate/gateways.ts';
import type { Condition, ObjectStatus } from '../translate/statuses.ts';
import type { DeployedGateway, ParametersSource } from './waypoint-deployer.ts';

/** Every Gateway that translation took for a waypoint. */
export function deployedGateways(
  { waypoints }: Pick<Model, 'waypoints'>,
  resources: Resources,
): readonly DeployedGateway[] {
  return [...resources.Gateway.values()]
    .filter(({ metadata }) => waypoints.has(gatewayKeyOf(metadata)))
    .map((object) => ({ object, parameters: parametersOf(object, resources) }));
}

/** The Gateway's own before those of its class (Gateway API: one level of infrastructure replaces the other). */
function parametersOf(
  { metadata, spec }: DeployedGateway['object'],
  resources: Resources,
): ParametersSource | undefined {
  const own = spec.infrastructure?.parametersRef;
  if (own !== undefined) return { ...own, namespace: metadata.namespace };
  const shared = resources.GatewayClass.get(spec.gatewayClassName)?.spec.parametersRef;
  return shared === undefined ? undefined : { ...shared, namespace: shared.namespace ?? '' };
}

/** Programmed is False for a Gateway whose objects are not as they should be. */
export function withDeploymentProblems(
  statuses: readonly ObjectStatus[],
  problems: ReadonlyMap<string, string>,
): readonly ObjectStatus[] {
  if (problems.size === 0) return statuses;
  return statuses.map((status) => {
    const message =
      status.kind === 'Gateway' ? problems.get(objectKey(status.namespace, status.name)) : undefined;
    if (message === undefined) return status;
    const condition: Condition = {
      type: 'Programmed',
      status: 'False',
      reason: 'Invalid',
      message,
      faults: [{ message }],
    };
    const others = status.conditions.filter(({ type }) => type !== 'Programmed');
    const conditions = [...others, condition].sort((a, b) => (a.type < b.type ? -1 : 1));
    return { ...status, conditions };
  });
}
