// What became of each target of a policy, as the Gateway API's PolicyStatus lists it: taken from what the steps of the
// translation said about the policy, by the field they said it of.

import { gatewayGroup } from '../resources/gateway-kinds.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import type { FieldPath } from '../source/problem.ts';
import {
  badCondition,
  type Condition,
  goodCondition,
  isBadCondition,
  type ObjectStatus,
  type PartStatus,
} from './statuses.ts';

interface TargetRef {
  readonly group?: string;
  readonly kind: string;
  readonly name: string;
  readonly sectionName?: string;
}

interface TargetingObject {
  readonly metadata: ObjectMeta;
  readonly spec: { readonly targetRefs?: readonly TargetRef[] };
}

/** With `ancestors` for every policy that names targets. */
export function withAncestors(
  statuses: readonly ObjectStatus[],
  resources: Resources,
): readonly ObjectStatus[] {
  return statuses.map((status) => {
    const object = policyOf(resources, status);
    const targets = object?.spec.targetRefs;
    if (targets === undefined || status.ancestors !== undefined) return status;
    return { ...status, ancestors: targets.map((target, index) => ancestor(status, target, index)) };
  });
}

function policyOf(
  resources: Resources,
  { kind, namespace, name }: ObjectStatus,
): TargetingObject | undefined {
  switch (kind) {
    case 'AuthorizationPolicy':
    case 'RequestAuthentication':
    case 'TrafficPolicy':
      return resources[kind].get(objectKey(namespace, name));
    default:
      return undefined;
  }
}

function ancestor(status: ObjectStatus, target: TargetRef, index: number): PartStatus {
  const { group = gatewayGroup, kind, name, sectionName } = target;
  const ref = { group, kind, name, ...(sectionName === undefined ? {} : { sectionName }) };
  const objections = status.conditions
    .filter(isBadCondition)
    .flatMap(({ reason, faults }) => faults.map((fault) => ({ ...fault, reason })))
    .filter(({ field }) => concerns(field, index));
  const accepted: Condition =
    objections.length === 0
      ? goodCondition('Accepted', 'Accepted', 'In force for this target')
      : badCondition('Accepted', objections);
  return { ref, conditions: [accepted] };
}

/** What is said of no target in particular is said of all. */
function concerns(field: FieldPath | undefined, index: number): boolean {
  if (field?.[0] !== 'spec' || field[1] !== 'targetRefs' || typeof field[2] !== 'number') return true;
  return field[2] === index;
}
