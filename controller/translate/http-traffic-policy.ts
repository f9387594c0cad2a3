// The fields of a TrafficPolicy that need the request, as a waypoint gets them. What is not written stays absent, so
// that policies can be merged field by field.

import {
  defaultOutlierDetection,
  type Fault,
  type HashKey,
  type HttpTrafficPolicy,
  type OutlierDetection,
  type RateLimit,
  type RequestCondition,
} from '../../mesh/model/traffic-policy.ts';
import type {
  FaultSpec,
  RateLimitSpec,
  RequestConditionSpec,
  TrafficPolicyObject,
} from '../resources/own-kinds.ts';
import type { FieldPath } from '../source/problem.ts';

type Spec = TrafficPolicyObject['spec'];

/** Ms of a duration in range; undefined if it is absent, or wrong, which is reported then. */
export type CheckDuration = (
  field: FieldPath,
  text: string | undefined,
  range: { readonly min: number; readonly max: number },
) => number | undefined;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

const algorithms = {
  PeakEWMA: 'peak-ewma',
  LeastConnections: 'least-connections',
  LeastRequest: 'least-connections',
  RoundRobin: 'round-robin',
  WeightedRandom: 'weighted-random',
  Random: 'random',
  RingHash: 'ring-hash',
  Maglev: 'maglev',
} as const;

/** Undefined if the policy says nothing about requests. */
export function translateHttpPolicy(
  { metadata, spec }: TrafficPolicyObject,
  duration: CheckDuration,
): HttpTrafficPolicy | undefined {
  const ejection = translateEjection(spec.outlierDetection, duration);
  const fields = present({
    ...numbersOf(spec),
    balancing: spec.balancing && algorithms[spec.balancing],
    hashOn: spec.hashOn && hashKey(spec.hashOn, duration),
    slowStartMs: duration(['slowStart'], spec.slowStart, { min: 1, max: hourMs }),
    requestTimeoutMs: duration(['requestTimeout'], spec.requestTimeout, { min: 0, max: dayMs }),
    perTryTimeoutMs: duration(['perTryTimeout'], spec.perTryTimeout, { min: 0, max: dayMs }),
    retry: retryOf(spec.retry, duration),
    retryBudget: spec.retryBudget,
    hedging: hedgingOf(spec.hedging, duration),
    rateLimits: spec.rateLimits?.map((limit, i) => rateLimit(limit, i, duration)),
    faults: spec.faults?.map((fault, i) => faultOf(fault, i, duration)),
    ejection,
    httpOutlierDetection: responseOutliers(spec.outlierDetection),
  });
  if (Object.keys(fields).length === 0) return undefined;
  return { key: `${metadata.namespace}/${metadata.name}`, ...fields };
}

/** The part that connections are ejected by too; what is not right is as without it. */
export function translateEjection(
  written: Spec['outlierDetection'],
  duration: CheckDuration,
): OutlierDetection | undefined {
  if (written === undefined) return undefined;
  const field = (name: string): FieldPath => ['outlierDetection', name];
  const baseEjectionMs =
    duration(field('baseEjection'), written.baseEjection, { min: 1, max: hourMs }) ??
    defaultOutlierDetection.baseEjectionMs;
  const maxEjectionMs =
    duration(field('maxEjection'), written.maxEjection, { min: 1, max: dayMs }) ??
    defaultOutlierDetection.maxEjectionMs;
  return {
    consecutiveFailures: written.consecutiveFailures,
    baseEjectionMs,
    maxEjectionMs: Math.max(baseEjectionMs, maxEjectionMs),
    maxEjectionPercent: written.maxEjectionPercent,
  };
}

/** Fields that are called and valued alike in the model. */
function numbersOf(spec: Spec) {
  const { maxRequests, maxPendingRequests, maxRequestsPerConnection } = spec;
  const { maxRequestBodyBytes, maxHeaderBytes } = spec;
  return {
    maxRequests,
    maxPendingRequests,
    maxRequestsPerConnection,
    maxRequestBodyBytes,
    maxHeaderBytes,
  };
}

function responseOutliers(written: Spec['outlierDetection']): HttpTrafficPolicy['httpOutlierDetection'] {
  if (written === undefined) return undefined;
  const { consecutive5xx, consecutiveGatewayErrors, successRateDeviations, latencyFactor } = written;
  const sum = consecutive5xx + consecutiveGatewayErrors + successRateDeviations + latencyFactor;
  if (sum === 0) return undefined;
  return { consecutive5xx, consecutiveGatewayErrors, successRateDeviations, latencyFactor };
}

function hashKey({ kind, name = '', ttl }: NonNullable<Spec['hashOn']>, duration: CheckDuration): HashKey {
  switch (kind) {
    case 'Source':
      return { kind: 'source' };
    case 'Header':
      return { kind: 'header', name: name.toLowerCase() };
    case 'Cookie': {
      const ttlMs = duration(['hashOn', 'ttl'], ttl, { min: 0, max: 8_760 * hourMs });
      return { kind: 'cookie', name, ttlMs };
    }
  }
}

function retryOf(written: Spec['retry'], duration: CheckDuration): HttpTrafficPolicy['retry'] {
  if (written === undefined) return undefined;
  const { attempts, codes, backoff, unsafe } = written;
  const backoffMs = duration(['retry', 'backoff'], backoff, { min: 1, max: 60_000 }) ?? 25;
  return { attempts, codes: codes.toSorted((a, b) => a - b), backoffMs, unsafe };
}

function hedgingOf(written: Spec['hedging'], duration: CheckDuration): HttpTrafficPolicy['hedging'] {
  const delayMs = duration(['hedging', 'delay'], written?.delay, { min: 1, max: 60_000 });
  return written === undefined || delayMs === undefined
    ? undefined
    : { delayMs, maxAttempts: written.maxAttempts };
}

const limitKeys = {
  All: 'all',
  Identity: 'identity',
  Namespace: 'namespace',
  SourceIP: 'source-ip',
} as const;

function rateLimit(limit: RateLimitSpec, index: number, duration: CheckDuration): RateLimit {
  const { per, header, requests, interval, burst } = limit;
  const field = ['rateLimits', index, 'interval'];
  return {
    key: per === 'Header' ? { kind: 'header', name: (header ?? '').toLowerCase() } : { kind: limitKeys[per] },
    requests,
    intervalMs: duration(field, interval, { min: 1, max: dayMs }) ?? 1_000,
    burst: burst ?? requests,
    when: condition(limit.when),
  };
}

function faultOf({ delay, abort, when }: FaultSpec, index: number, duration: CheckDuration): Fault {
  const field = ['faults', index, 'delay', 'duration'];
  const ms = duration(field, delay?.duration, { min: 1, max: hourMs });
  return {
    when: condition(when),
    delay: delay === undefined || ms === undefined ? undefined : { ms, percent: delay.percent },
    abort: abort && { status: abort.status, grpcStatus: abort.grpcStatus, percent: abort.percent },
  };
}

function condition(written: RequestConditionSpec | undefined): RequestCondition | undefined {
  if (written === undefined) return undefined;
  const { pathPrefix, methods = [], headers = [] } = written;
  return {
    pathPrefix,
    methods,
    headers: headers.map(({ name, value }) => ({ name: name.toLowerCase(), value })),
  };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
