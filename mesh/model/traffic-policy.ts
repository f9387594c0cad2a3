// A TrafficPolicy: the L4 part that node tunnels and waypoints use, and the L7 part that only a waypoint can.
// Absent fields mean the built-in default.

export interface OutlierDetection {
  /** Consecutive connect or tunnel failures that eject an endpoint; 1 to 100. */
  readonly consecutiveFailures: number;
  /** First ejection time in ms, doubled on each further ejection. */
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  /** At most this share of a service's endpoints is ejected at once; 0 to 100. */
  readonly maxEjectionPercent: number;
}

/**
 * Of the built-in default, and of every field that a policy leaves out (the CRD says the same).
 * Three failures tell a dead endpoint from one lost packet; 5 s is about how long a restart takes; half of the
 * endpoints must stay, because a failure of most of them is more likely ours than theirs.
 */
export const defaultOutlierDetection: OutlierDetection = {
  consecutiveFailures: 3,
  baseEjectionMs: 5_000,
  maxEjectionMs: 60_000,
  maxEjectionPercent: 50,
};

export interface TrafficPolicy {
  /** `namespace/name` of the object this came from. */
  readonly key: string;
  /** TCP or tunnel connect timeout in ms; 1 to 60,000. */
  readonly connectTimeoutMs?: number;
  /** A connection without a byte in either direction for this long is closed; 0 never. */
  readonly idleTimeoutMs?: number;
  /** Open connections from one node to the service; further ones are refused. */
  readonly maxConnections?: number;
  /** Endpoints tried for one connection while no byte was sent; 1 to 10. */
  readonly dialAttempts?: number;
  readonly balancing?: 'peak-ewma' | 'least-connections' | 'round-robin' | 'weighted-random';
  readonly outlierDetection?: OutlierDetection;
  /** What only a waypoint can do. */
  readonly http?: HttpTrafficPolicy;
}

/** Picks the endpoint by what the request says, so that equal requests meet the same one. */
export type HashKey =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string; readonly ttlMs: number | undefined }
  | { readonly kind: 'source' };

/** What a request must look like for a fault or a limit to concern it. Header names are lower case. */
export interface RequestCondition {
  readonly pathPrefix: string | undefined;
  readonly methods: readonly string[];
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

export interface RateLimit {
  /** Each value of the key has a bucket of its own; `all` is one bucket for everybody. */
  readonly key:
    | { readonly kind: 'all' | 'identity' | 'namespace' | 'source-ip' }
    | { readonly kind: 'header'; readonly name: string };
  readonly requests: number;
  /** 1 to 86,400,000. */
  readonly intervalMs: number;
  /** Size of the bucket; at least 1. */
  readonly burst: number;
  readonly when: RequestCondition | undefined;
}

export interface Fault {
  readonly when: RequestCondition | undefined;
  readonly delay: { readonly ms: number; readonly percent: number } | undefined;
  /** `grpcStatus` answers a gRPC request in its own way. */
  readonly abort:
    | { readonly status: number; readonly grpcStatus: number | undefined; readonly percent: number }
    | undefined;
}

/** The L7 part; of a service, or of a route where it replaces the service's field by field. */
export interface HttpTrafficPolicy {
  /** `namespace/name` of the object this came from. */
  readonly key: string;
  /** In place of the L4 part's, which knows no requests; the algorithms of both may be named. */
  readonly balancing?: NonNullable<TrafficPolicy['balancing']> | 'random' | 'ring-hash' | 'maglev';
  readonly hashOn?: HashKey;
  /** An endpoint that just came gets its full share only after this long. */
  readonly slowStartMs?: number;
  /** Requests that wait for a connection; further ones are answered 503 (UO). */
  readonly maxPendingRequests?: number;
  /** Requests under way to the service from one waypoint; further ones are answered 503 (UO). */
  readonly maxRequests?: number;
  /** Requests a connection carries before it is replaced; 0 without end. */
  readonly maxRequestsPerConnection?: number;
  readonly requestTimeoutMs?: number;
  readonly perTryTimeoutMs?: number;
  readonly retry?: {
    readonly attempts: number;
    readonly codes: readonly number[];
    readonly backoffMs: number;
    /** Also requests whose method is not idempotent (RFC 9110 section 9.2.2), once sent. */
    readonly unsafe: boolean;
  };
  /** Retries allowed as a share of the requests of the last ten seconds, beside a few that always are. */
  readonly retryBudget?: { readonly percent: number; readonly minPerSecond: number };
  /** A second try beside the first one, of idempotent requests only. */
  readonly hedging?: { readonly delayMs: number; readonly maxAttempts: number };
  readonly rateLimits?: readonly RateLimit[];
  readonly faults?: readonly Fault[];
  readonly maxRequestBodyBytes?: number;
  readonly maxHeaderBytes?: number;
  /** How ejection goes, whatever the reason for it; counts before the L4 part's of the service. */
  readonly ejection?: OutlierDetection;
  /** What of the responses ejects an endpoint. */
  readonly httpOutlierDetection?: {
    /** 0 switches a rule off. */
    readonly consecutive5xx: number;
    readonly consecutiveGatewayErrors: number;
    /** Ejects an endpoint whose success rate is this many standard deviations below the mean. */
    readonly successRateDeviations: number;
    /** Ejects an endpoint whose p50 latency is this many times the median of all. */
    readonly latencyFactor: number;
  };
}
