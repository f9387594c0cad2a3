// Passive outlier ejection of one endpoint: consecutive failures take it out of rotation for a time that doubles with
// each further ejection; after that it is on probation, where one dial at a time decides. Does not know the other
// endpoints: how many may be out at once is the caller's answer to `mayEject`.

import type { OutlierDetection } from '../model/traffic-policy.ts';

/** Times are monotonic ms. */
export class EndpointHealth {
  #consecutiveFailures = 0;
  #ejections = 0;
  #ejectedUntil = Number.NEGATIVE_INFINITY;
  #probation = false;
  #recoveredAt = Number.NEGATIVE_INFINITY;

  get consecutiveFailures(): number {
    return this.#consecutiveFailures;
  }

  isEjected(now: number): boolean {
    return now < this.#ejectedUntil;
  }

  /** The ejection is over, but no dial has succeeded since. */
  isOnProbation(now: number): boolean {
    return this.#probation && now >= this.#ejectedUntil;
  }

  /** A tunnel or connection to the endpoint came up. It also ends an ejection: everything else was out too, or slow. */
  succeeded(now: number): void {
    this.#consecutiveFailures = 0;
    if (!this.#probation) return;
    this.#probation = false;
    this.#ejectedUntil = Number.NEGATIVE_INFINITY;
    this.#recoveredAt = now;
  }

  /**
   * Returns true if this failure ejected the endpoint. On probation one failure is enough. A further failure of an
   * ejected endpoint (dialled because all were out) does not prolong the ejection.
   */
  failed(now: number, policy: OutlierDetection, mayEject: () => boolean): boolean {
    this.#consecutiveFailures++;
    if (this.isEjected(now)) return false;
    if (this.#consecutiveFailures < policy.consecutiveFailures && !this.#probation) return false;
    if (!mayEject()) return false;
    // A long good time after the last ejection makes the next one a first one again.
    if (!this.#probation && now - this.#recoveredAt > policy.maxEjectionMs) this.#ejections = 0;
    const duration = Math.min(policy.baseEjectionMs * 2 ** this.#ejections, policy.maxEjectionMs);
    this.#ejections = Math.min(this.#ejections + 1, 30);
    this.#ejectedUntil = now + duration;
    this.#probation = true;
    return true;
  }
}

/** Whether one more of `total` endpoints may be ejected when `ejected` are out already; one always stays. */
export function ejectionAllowed(total: number, ejected: number, policy: OutlierDetection): boolean {
  return ejected + 1 < total && ejected + 1 <= Math.floor((total * policy.maxEjectionPercent) / 100);
}
