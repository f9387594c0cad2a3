// The L7 settings in force for a request. Two merges, each remembered with its pair of policies, so that a request only
// looks it up:
// - the request's: those of the route over those of the service that was asked (limits, faults, timeouts, retries, sizes);
// - the backend's, when a route leads to another service: its own over the request's (balancing, hash, slow start,
//   request limits, ejection).

import type { HttpTrafficPolicy, RateLimit } from '../../mesh/model/traffic-policy.ts';

/** Which policy a list of limits was written in: a merged policy has the key of the route's. */
const writtenIn = new WeakMap<readonly RateLimit[], string>();
const merged = new WeakMap<HttpTrafficPolicy, WeakMap<HttpTrafficPolicy, HttpTrafficPolicy>>();

/**
 * `over` field by field over `base`; `key` is that of `over`. The same two policies give the same object.
 * @example const request = mergeTrafficSettings(routing.trafficPolicy, rule.trafficPolicy);
 *   const backend = mergeTrafficSettings(request, policyOfTheBackend);
 */
export function mergeTrafficSettings(
  base: HttpTrafficPolicy | undefined,
  over: HttpTrafficPolicy | undefined,
): HttpTrafficPolicy | undefined {
  if (base === undefined || over === undefined) return over ?? base;
  noteLimits(base);
  noteLimits(over);
  let known = merged.get(base);
  if (known === undefined) merged.set(base, (known = new WeakMap()));
  let result = known.get(over);
  if (result === undefined) known.set(over, (result = { ...base, ...withoutUndefined(over) }));
  return result;
}

/**
 * For RateLimiter.check: a limit of a service is one limit, whatever routes its requests take.
 * @param service key of the service that was asked; `''` for a workload
 */
export function rateLimitScope(settings: HttpTrafficPolicy, service: string): string {
  const { rateLimits, key } = settings;
  return `${(rateLimits && writtenIn.get(rateLimits)) ?? key}|${service}`;
}

function noteLimits({ rateLimits, key }: HttpTrafficPolicy): void {
  if (rateLimits !== undefined && !writtenIn.has(rateLimits)) writtenIn.set(rateLimits, key);
}

function withoutUndefined(policy: HttpTrafficPolicy): HttpTrafficPolicy {
  return Object.fromEntries(
    Object.entries(policy).filter(([, value]) => value !== undefined),
  ) as unknown as HttpTrafficPolicy;
}
