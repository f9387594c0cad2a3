// How long a request and each of its tries may take: the route's timeouts, then the TrafficPolicy's, and what a gRPC
// client asks for in grpc-timeout. Arithmetic only; timers are the caller's.

import type { RouteTimeouts } from '../../mesh/model/routing.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';

export interface Timeouts {
  /** From the request's head to the response's end of head; undefined: no limit. */
  readonly requestMs: number | undefined;
  /** The same of one try; never longer than the request's. */
  readonly perTryMs: number | undefined;
}

const unlimited: Timeouts = Object.freeze({ requestMs: undefined, perTryMs: undefined });

/**
 * 0 in a route switches a timeout off, whatever the policy says (Gateway API). A client's own deadline only shortens.
 * @param grpcTimeoutMs of `parseGrpcTimeout`
 */
export function timeoutsFor(
  route: RouteTimeouts | undefined,
  policy: HttpTrafficPolicy | undefined,
  grpcTimeoutMs?: number,
): Timeouts {
  const configured = limit(route?.requestMs ?? policy?.requestTimeoutMs);
  const requestMs = shorter(configured, grpcTimeoutMs);
  const perTryMs = shorter(limit(route?.backendRequestMs ?? policy?.perTryTimeoutMs), requestMs);
  return requestMs === undefined && perTryMs === undefined ? unlimited : { requestMs, perTryMs };
}

/**
 * Time for the next try, which ends with the request at the latest.
 * @param elapsedMs since the request's head came
 * @returns undefined: no limit; 0: the request's time is over
 */
export function tryTimeoutMs(timeouts: Timeouts, elapsedMs: number): number | undefined {
  const { requestMs, perTryMs } = timeouts;
  if (requestMs === undefined) return perTryMs;
  return shorter(perTryMs, Math.max(0, requestMs - elapsedMs));
}

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Milliseconds of a grpc-timeout field (gRPC over HTTP/2: at most 8 digits and a unit), undefined if it is none. */
export function parseGrpcTimeout(text: string): number | undefined {
  if (text.length < 2 || text.length > 9) return undefined;
  const unit = unitMs[text.charAt(text.length - 1)];
  const digits = text.slice(0, -1);
  return unit === undefined || !/^[0-9]+$/.test(digits) ? undefined : Number(digits) * unit;
}

/** What is left of a deadline, as grpc-timeout for the endpoint: rounded down, in the finest unit that has room. */
export function formatGrpcTimeout(ms: number): string {
  const left = Math.max(0, ms);
  if (left < 100_000) return `${Math.floor(left * 1_000)}u`;
  if (left < 100_000_000) return `${Math.floor(left)}m`;
  return `${Math.min(99_999_999, Math.floor(left / 1_000))}S`;
}

function limit(ms: number | undefined): number | undefined {
  return ms === 0 ? undefined : ms;
}

function shorter(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
