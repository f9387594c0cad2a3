// TrafficPolicies to the settings of what they target: the L4 part of services, the L7 part of services, routes and
// waypoints. One policy a target: the oldest, then the first by name; the others are told. A field that cannot be used
// is left at the built-in default, and the status says so; what has no effect on a target is said there, too.

import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { LoadBalancing, LocalityScope } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy, TrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { TargetRef, TrafficPolicyObject } from '../resources/own-kinds.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import type { FieldPath } from '../source/problem.ts';
import { parseDurationMs } from './durations.ts';
import type { Waypoints } from './gateways.ts';
import { type CheckDuration, translateEjection, translateHttpPolicy } from './http-traffic-policy.ts';
import { byPrecedence } from './precedence.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection, StatusCollector } from './statuses.ts';
import { remarksOn } from './traffic-policy-effects.ts';

export interface TrafficPoliciesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly waypoints: Waypoints;
}

/** What an L7 policy can be attached to. */
export type HttpPolicyTarget = 'Service' | 'ServiceEntry' | 'HTTPRoute' | 'GRPCRoute' | 'Gateway';

/** L7 settings by the object a TrafficPolicy targets; undefined: none does. */
export interface HttpTrafficPolicies {
  httpTrafficPolicyFor(
    kind: HttpPolicyTarget,
    namespace: string,
    name: string,
  ): HttpTrafficPolicy | undefined;
}

/** The policy of a service field by field over that of its Gateway: for ServiceRouting.trafficPolicy. */
export function mergeHttpTrafficPolicies(
  base: HttpTrafficPolicy | undefined,
  over: HttpTrafficPolicy | undefined,
): HttpTrafficPolicy | undefined {
  return base === undefined || over === undefined ? (over ?? base) : { ...base, ...over };
}

/** What a target led to: the services of it (none for a route or Gateway), or why it leads nowhere. */
type Target = { readonly drafts: readonly ServiceDraft[] } | { readonly objection: Objection };

/** Sets trafficPolicy and loadBalancing of the drafts, whose waypoints are known. */
export function applyTrafficPolicies(
  context: TrafficPoliciesContext,
  services: readonly ServiceDraft[],
): HttpTrafficPolicies {
  const byTarget = Map.groupBy(
    services,
    ({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}`,
  );
  const winners = new Map<string, { object: TrafficPolicyObject; http: HttpTrafficPolicy | undefined }>();
  for (const object of byPrecedence(context.resources.TrafficPolicy.values())) {
    const { metadata, spec } = object;
    context.statuses.announce('TrafficPolicy', metadata);
    const { l4, http } = translatePolicy(context, object);
    const reached: { target: TargetRef; drafts: readonly ServiceDraft[] }[] = [];
    for (const [index, target] of spec.targetRefs.entries()) {
      const key = `${target.kind}/${metadata.namespace}/${target.name}`;
      const field = ['spec', 'targetRefs', index];
      const found = findTarget(context, { target, namespace: metadata.namespace, byTarget });
      const winner = winners.get(key)?.object;
      if ('objection' in found) {
        context.statuses.unresolved('TrafficPolicy', metadata, { ...found.objection, field });
      } else if (winner !== undefined && winner !== object) {
        const { namespace, name } = winner.metadata;
        const message = `TrafficPolicy ${namespace}/${name} came first and decides for ${target.kind} ${target.name}`;
        context.statuses.conflict('TrafficPolicy', metadata, { reason: 'OlderObject', message, field });
      } else {
        winners.set(key, { object, http });
        reached.push({ target, drafts: found.drafts });
        for (const draft of found.drafts) apply(draft, object, l4);
      }
    }
    const remarks = remarksOn(spec, reached);
    if (remarks !== undefined) context.statuses.remark('TrafficPolicy', metadata, remarks);
  }
  return {
    httpTrafficPolicyFor: (kind, namespace, name) => winners.get(`${kind}/${namespace}/${name}`)?.http,
  };
}

function findTarget(
  { resources, waypoints }: TrafficPoliciesContext,
  options: {
    readonly target: TargetRef;
    readonly namespace: string;
    readonly byTarget: ReadonlyMap<string, readonly ServiceDraft[]>;
  },
): Target {
  const { target, namespace, byTarget } = options;
  const { kind, name } = target;
  const notFound = { reason: 'TargetNotFound', message: `${kind} ${namespace}/${name} does not exist` };
  switch (kind) {
    case 'HTTPRoute':
    case 'GRPCRoute':
      return resources[kind].has(objectKey(namespace, name)) ? { drafts: [] } : { objection: notFound };
    case 'Gateway': {
      const key = objectKey(namespace, name) as GatewayKey;
      if (waypoints.has(key)) return { drafts: [] };
      if (!resources.Gateway.has(key)) return { objection: notFound };
      const message = `Gateway ${key} is no waypoint of Weft that can be used`;
      return { objection: { reason: 'UnsupportedTarget', message } };
    }
    default: {
      const drafts = byTarget.get(`${kind}/${namespace}/${name}`);
      return drafts === undefined ? { objection: notFound } : { drafts };
    }
  }
}

function apply(draft: ServiceDraft, { spec }: TrafficPolicyObject, policy: TrafficPolicy): void {
  draft.trafficPolicy = policy;
  if (spec.locality === undefined) return;
  const routingPreference = spec.locality.scopes.map((scope) => scope.toLowerCase() as LocalityScope);
  const mode: LoadBalancing['mode'] = spec.locality.mode === 'Strict' ? 'strict' : 'failover';
  draft.loadBalancing = { ...draft.service.loadBalancing, mode, routingPreference };
}

/** What node tunnels, which see connections only, make of each algorithm; undefined: their default. */
const balancing = {
  PeakEWMA: 'peak-ewma',
  LeastConnections: 'least-connections',
  LeastRequest: 'least-connections',
  RoundRobin: 'round-robin',
  WeightedRandom: 'weighted-random',
  Random: 'weighted-random',
  RingHash: undefined,
  Maglev: undefined,
} as const;

const hourMs = 3_600_000;

function translatePolicy(
  context: TrafficPoliciesContext,
  object: TrafficPolicyObject,
): { readonly l4: TrafficPolicy; readonly http: HttpTrafficPolicy | undefined } {
  const { metadata, spec } = object;
  const duration = durationChecker(context, object);
  const connectTimeoutMs = duration(['connectTimeout'], spec.connectTimeout, { min: 1, max: 60_000 });
  const idleTimeoutMs = duration(['idleTimeout'], spec.idleTimeout, { min: 0, max: 168 * hourMs });
  const outlierDetection = translateEjection(spec.outlierDetection, duration);
  const algorithm = spec.balancing && balancing[spec.balancing];
  const l4 = {
    key: `${metadata.namespace}/${metadata.name}`,
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    ...(spec.maxConnections === undefined ? {} : { maxConnections: spec.maxConnections }),
    ...(spec.dialAttempts === undefined ? {} : { dialAttempts: spec.dialAttempts }),
    ...(algorithm === undefined ? {} : { balancing: algorithm }),
    ...(outlierDetection === undefined ? {} : { outlierDetection }),
  };
  return { l4, http: translateHttpPolicy(object, duration) };
}

/** Each wrong field is reported once, however often it is asked for. */
function durationChecker(
  { statuses }: TrafficPoliciesContext,
  { metadata }: TrafficPolicyObject,
): CheckDuration {
  const reported = new Set<string>();
  return (path, text, { min, max }) => {
    if (text === undefined) return undefined;
    const ms = parseDurationMs(text);
    if (ms !== undefined && ms >= min && ms <= max) return ms;
    const field: FieldPath = ['spec', ...path];
    if (reported.has(field.join('.'))) return undefined;
    reported.add(field.join('.'));
    const message = `"${text}" is no duration from ${min}ms to ${max / 1000}s; the built-in default is in force`;
    statuses.reject('TrafficPolicy', metadata, { reason: 'InvalidDuration', message, field });
    return undefined;
  };
}
