// The L4 part of a TrafficPolicy as the node tunnel uses it. Absent fields mean the built-in default.

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
}
