// Which failed tries of a request are tried again. The rule of RFC 9110 section 9.2.2 comes first: a request that may
// have been acted on is repeated only if its method is idempotent, or if the policy says it is safe all the same.

import type { RouteRetry } from '../../mesh/model/routing.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { BackoffSettings } from './backoff.ts';

export interface RetrySettings {
  /** Tries after the first one. */
  readonly attempts: number;
  /** Statuses of responses that are tried again. */
  readonly codes: readonly number[];
  readonly unsafe: boolean;
  readonly backoff: BackoffSettings;
}

/**
 * - `connect`: no connection to the endpoint. `refused`: it says it did nothing with the request (REFUSED_STREAM, a
 *   GOAWAY with a lower stream id, a connection that was closed before the request was written).
 * - `reset`: stream or connection ended before the response's head. `timeout`: the try's time is over.
 * - `response`: a status of HTTP, and of gRPC where the response is trailers only.
 */
export type TryFailure =
  | { readonly kind: 'connect' | 'refused' | 'reset' | 'timeout' }
  | { readonly kind: 'response'; readonly status: number; readonly grpcStatus?: number | undefined };

export interface TryFacts {
  readonly method: string;
  /** The whole request is at hand to be sent once more. */
  readonly replayable: boolean;
  /** Retries so far. */
  readonly retries: number;
}

/**
 * Without a policy an endpoint that never saw the request is not the client's problem: two others are tried, as for
 * connections. 25 ms is Envoy's base: long enough for a restarted listener, unnoticed by a person.
 */
const defaultRetry: RetrySettings = Object.freeze({
  attempts: 2,
  codes: [],
  unsafe: false,
  backoff: Object.freeze({ baseMs: 25, floorMs: 0 }),
});

const ofPair = new WeakMap<object, WeakMap<object, RetrySettings>>();
const nothing = {};

/**
 * The route's `retry` counts before that of the TrafficPolicy, which still says whether unsafe requests are repeated.
 * The same two objects give the same settings.
 */
export function retrySettings(
  route: RouteRetry | undefined,
  policy: HttpTrafficPolicy | undefined,
): RetrySettings {
  if (route === undefined && policy?.retry === undefined) return defaultRetry;
  const [first, second] = [route ?? nothing, policy?.retry ?? nothing];
  let known = ofPair.get(first);
  if (known === undefined) ofPair.set(first, (known = new WeakMap()));
  let settings = known.get(second);
  if (settings === undefined) known.set(second, (settings = merge(route, policy?.retry)));
  return settings;
}

function merge(route: RouteRetry | undefined, policy: HttpTrafficPolicy['retry']): RetrySettings {
  const { baseMs } = defaultRetry.backoff;
  const backoff =
    route?.backoffMs === undefined
      ? { baseMs: policy?.backoffMs ?? baseMs, floorMs: 0 }
      : { baseMs: route.backoffMs, floorMs: route.backoffMs };
  return {
    attempts: route?.attempts ?? policy?.attempts ?? defaultRetry.attempts,
    codes: route?.codes ?? policy?.codes ?? [],
    unsafe: policy?.unsafe ?? false,
    backoff,
  };
}

/** Whether to try once more; the budget and the deadline are the caller's to ask then. */
export function shouldRetry(settings: RetrySettings, failure: TryFailure, facts: TryFacts): boolean {
  if (facts.retries >= settings.attempts || !facts.replayable) return false;
  switch (failure.kind) {
    case 'connect':
    case 'refused':
      return true;
    case 'reset':
    case 'timeout':
      return settings.unsafe || isIdempotent(facts.method);
    case 'response':
      return isListed(settings, failure) && (settings.unsafe || isIdempotent(facts.method));
  }
}

/** RFC 9110 section 9.2.2, and QUERY (RFC 9110's registry, safe). gRPC requests are POST, so they are not. */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'TRACE':
    case 'PUT':
    case 'DELETE':
    case 'QUERY':
      return true;
    default:
      return false;
  }
}

function isListed({ codes }: RetrySettings, failure: Extract<TryFailure, { kind: 'response' }>): boolean {
  return codes.includes(failure.status) || codes.includes(statusOf(failure.status, failure.grpcStatus));
}

/** The status a response stands for: that which its gRPC status is mapped to, if it has one that is no success. */
export function statusOf(status: number, grpcStatus: number | undefined): number {
  return (grpcStatus === undefined ? undefined : httpStatusOfGrpc[grpcStatus]) ?? status;
}

/** A policy lists HTTP statuses; a gRPC status counts as the one it is mapped to (google.rpc.Code). */
const httpStatusOfGrpc: Readonly<Record<number, number>> = {
  1: 499,
  2: 500,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 400,
  10: 409,
  11: 400,
  12: 501,
  13: 500,
  14: 503,
  15: 500,
  16: 401,
};
