// TrafficPolicies to the L4 settings of the services they target. One policy a service: the oldest, then the first by
// name; the others are told. A field that cannot be used is left at the built-in default, and the status says so.

import type { LoadBalancing, LocalityScope } from '../../mesh/model/service.ts';
import {
  defaultOutlierDetection,
  type HttpTrafficPolicy,
  type OutlierDetection,
  type TrafficPolicy,
} from '../../mesh/model/traffic-policy.ts';
import type { TrafficPolicyObject } from '../resources/own-kinds.ts';
import type { Resources } from '../resources/resources.ts';
import type { FieldPath } from '../source/problem.ts';
import { parseDurationMs } from './durations.ts';
import { byPrecedence } from './precedence.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { StatusCollector } from './statuses.ts';

export interface TrafficPoliciesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
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

/** Sets trafficPolicy and loadBalancing of the drafts. */
export function applyTrafficPolicies(
  context: TrafficPoliciesContext,
  services: readonly ServiceDraft[],
): HttpTrafficPolicies {
  const byTarget = Map.groupBy(
    services,
    ({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}`,
  );
  const winners = new Map<string, TrafficPolicyObject>();
  for (const object of byPrecedence(context.resources.TrafficPolicy.values())) {
    const { metadata, spec } = object;
    context.statuses.announce('TrafficPolicy', metadata);
    const policy = translatePolicy(context, object);
    for (const [index, target] of spec.targetRefs.entries()) {
      const key = `${target.kind}/${metadata.namespace}/${target.name}`;
      const drafts = byTarget.get(key);
      const field = ['spec', 'targetRefs', index];
      const winner = winners.get(key);
      if (drafts === undefined) {
        const message = `${target.kind} ${metadata.namespace}/${target.name} does not exist`;
        context.statuses.unresolved('TrafficPolicy', metadata, { reason: 'TargetNotFound', message, field });
      } else if (winner !== undefined && winner !== object) {
        const { namespace, name } = winner.metadata;
        const message = `TrafficPolicy ${namespace}/${name} came first and decides for ${target.kind} ${target.name}`;
        context.statuses.conflict('TrafficPolicy', metadata, { reason: 'OlderObject', message, field });
      } else {
        winners.set(key, object);
        for (const draft of drafts) apply(draft, object, policy);
      }
    }
  }
  return { httpTrafficPolicyFor: () => undefined };
}

function apply(draft: ServiceDraft, { spec }: TrafficPolicyObject, policy: TrafficPolicy): void {
  draft.trafficPolicy = policy;
  if (spec.locality === undefined) return;
  const routingPreference = spec.locality.scopes.map((scope) => scope.toLowerCase() as LocalityScope);
  const mode: LoadBalancing['mode'] = spec.locality.mode === 'Strict' ? 'strict' : 'failover';
  draft.loadBalancing = { ...draft.service.loadBalancing, mode, routingPreference };
}

const balancing = {
  PeakEWMA: 'peak-ewma',
  LeastConnections: 'least-connections',
  RoundRobin: 'round-robin',
  WeightedRandom: 'weighted-random',
} as const;

const hourMs = 3_600_000;

function translatePolicy(context: TrafficPoliciesContext, object: TrafficPolicyObject): TrafficPolicy {
  const { metadata, spec } = object;
  const duration = (field: FieldPath, text: string | undefined, range: { min: number; max: number }) =>
    checkedDuration(context, object, { field: ['spec', ...field], text, ...range });
  const connectTimeoutMs = duration(['connectTimeout'], spec.connectTimeout, { min: 1, max: 60_000 });
  const idleTimeoutMs = duration(['idleTimeout'], spec.idleTimeout, { min: 0, max: 168 * hourMs });
  const outlierDetection = translateOutliers(spec.outlierDetection, duration);
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    ...(spec.maxConnections === undefined ? {} : { maxConnections: spec.maxConnections }),
    ...(spec.dialAttempts === undefined ? {} : { dialAttempts: spec.dialAttempts }),
    ...(spec.balancing === undefined ? {} : { balancing: balancing[spec.balancing] }),
    ...(outlierDetection === undefined ? {} : { outlierDetection }),
  };
}

type CheckDuration = (
  field: FieldPath,
  text: string | undefined,
  range: { min: number; max: number },
) => number | undefined;

function translateOutliers(
  written: TrafficPolicyObject['spec']['outlierDetection'],
  duration: CheckDuration,
): OutlierDetection | undefined {
  if (written === undefined) return undefined;
  const baseEjectionMs =
    duration(['outlierDetection', 'baseEjection'], written.baseEjection, { min: 1, max: hourMs }) ??
    defaultOutlierDetection.baseEjectionMs;
  const maxEjectionMs =
    duration(['outlierDetection', 'maxEjection'], written.maxEjection, { min: 1, max: 24 * hourMs }) ??
    defaultOutlierDetection.maxEjectionMs;
  return {
    consecutiveFailures: written.consecutiveFailures,
    baseEjectionMs,
    maxEjectionMs: Math.max(baseEjectionMs, maxEjectionMs),
    maxEjectionPercent: written.maxEjectionPercent,
  };
}

function checkedDuration(
  context: TrafficPoliciesContext,
  { metadata }: TrafficPolicyObject,
  { field, text, min, max }: { field: FieldPath; text: string | undefined; min: number; max: number },
): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms >= min && ms <= max) return ms;
  const message = `"${text}" is no duration from ${min}ms to ${max / 1000}s; the built-in default is in force`;
  context.statuses.reject('TrafficPolicy', metadata, { reason: 'InvalidDuration', message, field });
  return undefined;
}
