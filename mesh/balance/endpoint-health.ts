// Passive outlier ejection of one endpoint: whatever the reason, it is out of rotation for a time that doubles with each
// further ejection; after that it is on probation, where one try at a time decides. Counts failed dials itself; failed
// requests are counted by HttpOutliers. Does not know the other endpoints: how many may be out at once is the caller's
// answer to `mayEject`.

import type { OutlierDetection } from '../model/traffic-policy.ts';

/** What an endpoint was ejected for decides what brings it back: a connection, or only a good response. */
export type EjectionCause = 'connect' | 'response';

/** Times are monotonic ms. */
export class EndpointHealth {
  #consecutiveFailures = 0;
  #ejections = 0;
  #ejectedAt = Number.NEGATIVE_INFINITY;
  #ejectedUntil = Number.NEGATIVE_INFINITY;
  #cause: EjectionCause = 'connect';
  #probation = false;
  #recoveredAt = Number.NEGATIVE_INFINITY;
  /** Tries under way that began on probation. */
  probes = 0;

  get consecutiveFailures(): number {
    return this.#consecutiveFailures;
  }

  /** Start of the last ejection. */
  get ejectedAt(): number {
    return this.#ejectedAt;
  }

  isEjected(now: number): boolean {
    return now < this.#ejectedUntil;
  }

  /** The ejection is over, but nothing has succeeded since. */
  isOnProbation(now: number): boolean {
    return this.#probation && now >= this.#ejectedUntil;
  }

  /** May be picked as any other, or as the one try of its probation. */
  isInRotation(now: number): boolean {
    return !this.#probation || (now >= this.#ejectedUntil && this.probes === 0);
  }

  /** A tunnel or connection to the endpoint came up. It also ends an ejection: everything else was out too, or slow. */
  succeeded(now: number): void {
    this.#consecutiveFailures = 0;
    if (this.#probation && this.#cause === 'connect') this.#recover(now);
  }

  /** A good response to a request that was sent after the ejection, if there was one. */
  answered(now: number): void {
    if (this.#probation) this.#recover(now);
  }

  /**
   * Returns true if this failure ejected the endpoint. On probation one failure is enough. A further failure of an
   * ejected endpoint (dialled because all were out) does not prolong the ejection.
   */
  failed(now: number, policy: OutlierDetection, mayEject: () => boolean): boolean {
    this.#consecutiveFailures++;
    if (this.#consecutiveFailures < policy.consecutiveFailures && !this.#probation) return false;
    return this.eject(now, policy, { cause: 'connect', mayEject });
  }

  /** Out of rotation, unless it is already or may not be. Returns whether this did it. */
  eject(
    now: number,
    policy: OutlierDetection,
    { cause, mayEject }: { readonly cause: EjectionCause; readonly mayEject: () => boolean },
  ): boolean {
    if (this.isEjected(now) || !mayEject()) return false;
    // A long good time after the last ejection makes the next one a first one again.
    if (!this.#probation && now - this.#recoveredAt > policy.maxEjectionMs) this.#ejections = 0;
    const duration = Math.min(policy.baseEjectionMs * 2 ** this.#ejections, policy.maxEjectionMs);
    this.#ejections = Math.min(this.#ejections + 1, 30);
    this.#ejectedAt = now;
    this.#ejectedUntil = now + duration;
    this.#cause = cause;
    this.#probation = true;
    return true;
  }

  #recover(now: number): void {
    this.#probation = false;
    this.#ejectedUntil = Number.NEGATIVE_INFINITY;
    this.#recoveredAt = now;
  }
}

/**
 * Whether one more of `total` endpoints may be ejected when `ejected` are out already. One always stays, unless
 * `leaveNone` is set and the policy allows 100 percent: then an open circuit is what was asked for.
 */
export function ejectionAllowed(
  total: number,
  ejected: number,
  policy: Pick<OutlierDetection, 'maxEjectionPercent'> & { readonly leaveNone?: boolean },
): boolean {
  const most = policy.leaveNone === true && policy.maxEjectionPercent === 100 ? total : total - 1;
  return ejected + 1 <= most && ejected + 1 <= Math.floor((total * policy.maxEjectionPercent) / 100);
}
