// Which written fields of a TrafficPolicy have no effect on which of its targets: what needs the request, on a service
// that no waypoint serves; what concerns connections, on a route or a Gateway. Pure text for the status.

import type { TargetRef, TrafficPolicyObject } from '../resources/own-kinds.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection } from './statuses.ts';

type Spec = TrafficPolicyObject['spec'];

const connectionFields = [
  'connectTimeout',
  'idleTimeout',
  'maxConnections',
  'dialAttempts',
  'locality',
] as const satisfies readonly (keyof Spec)[];

const requestFields = [
  'hashOn',
  'slowStart',
  'maxRequests',
  'maxPendingRequests',
  'maxRequestsPerConnection',
  'maxRequestBodyBytes',
  'maxHeaderBytes',
  'requestTimeout',
  'perTryTimeout',
  'retry',
  'retryBudget',
  'hedging',
  'rateLimits',
  'faults',
] as const satisfies readonly (keyof Spec)[];

/** Those that are 0 have no effect anywhere. */
const responseFields = [
  'consecutive5xx',
  'consecutiveGatewayErrors',
  'successRateDeviations',
  'latencyFactor',
] as const satisfies readonly (keyof NonNullable<Spec['outlierDetection']>)[];

/** Undefined if everything has an effect everywhere. */
export function remarksOn(
  spec: Spec,
  reached: readonly { readonly target: TargetRef; readonly drafts: readonly ServiceDraft[] }[],
): Objection | undefined {
  const needWaypoint = fieldsForRequests(spec);
  const needService = connectionFields.filter((field) => spec[field] !== undefined);
  const without: string[] = [];
  const others: string[] = [];
  for (const { target, drafts } of reached) {
    const name = `${target.kind} ${target.name}`;
    if (target.kind !== 'Service' && target.kind !== 'ServiceEntry') others.push(name);
    else if (drafts.some(({ waypoint }) => waypoint === undefined)) without.push(name);
  }
  const remarks: Objection[] = [];
  if (needWaypoint.length > 0 && without.length > 0) {
    const message = `${haveNoEffect(needWaypoint)} for clients of ${without.join(', ')}: no waypoint is in front of it`;
    remarks.push({ reason: 'WaypointRequired', message });
  }
  if (needService.length > 0 && others.length > 0) {
    const message = `${haveNoEffect(needService)} on ${others.join(', ')}: connections are made by the policy of the Service`;
    remarks.push({ reason: 'FieldsIgnored', message });
  }
  const [first, second] = remarks;
  return first === undefined || second === undefined
    ? first
    : { reason: 'PartlyInEffect', message: `${first.message}; ${second.message}` };
}

function fieldsForRequests(spec: Spec): string[] {
  const fields: string[] = requestFields.filter((field) => spec[field] !== undefined);
  const { balancing, outlierDetection } = spec;
  if (balancing === 'RingHash' || balancing === 'Maglev') fields.unshift(`balancing ${balancing}`);
  for (const field of responseFields) {
    if ((outlierDetection?.[field] ?? 0) > 0) fields.push(`outlierDetection.${field}`);
  }
  return fields;
}

function haveNoEffect(fields: readonly string[]): string {
  return `In force, but ${fields.join(', ')} ${fields.length === 1 ? 'has' : 'have'} no effect`;
}
