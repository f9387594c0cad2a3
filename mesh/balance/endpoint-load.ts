// How busy one endpoint is as this worker sees it: connections (or requests) open and being opened, the time to open a
// stream, and the time to a response. Both times are peak-sensitive moving averages, which follow a rise at once and a
// fall slowly, as Finagle's and Linkerd's do. The set-up of a tunnel that many share is no part of them: it would keep
// an endpoint out for as long as the average needs to forget it.

/** Time constant of the averages; after it, an old value counts 37 %. */
const decayMs = 10_000;

/**
 * Added to every time before comparison: below a few ms the difference is noise of one handshake, and without it the
 * nearest endpoint would take all connections.
 */
const noiseMs = 5;

export class EndpointLoad {
  /** Dials under way. */
  pending = 0;
  /** Connections or requests between begin and close, those being opened included. */
  open = 0;
  /** When the endpoint was last picked. */
  pickedAt = Number.NEGATIVE_INFINITY;
  readonly #connect = new PeakAverage();
  readonly #response = new PeakAverage();

  /** @param connectMs time from dial to an open stream, in a tunnel that was up already, or to a connection of its own */
  observe(connectMs: number, now: number): void {
    this.#connect.observe(connectMs, now);
  }

  /** A dial that failed after `elapsedMs`: counts if it was slow, never as a sign of speed. */
  observeFailure(elapsedMs: number, now: number): void {
    if (elapsedMs > this.#connect.at(now)) this.#connect.observe(elapsedMs, now);
  }

  /** @param responseMs time to a response's head; of a failure it counts only if it was slow */
  observeResponse(responseMs: number, now: number, options: { readonly failed: boolean }): void {
    if (!options.failed || responseMs > this.#response.at(now)) this.#response.observe(responseMs, now);
  }

  /** The average, fading to 0 while nothing is observed, so that an endpoint once slow is tried again. */
  connectMs(now: number): number {
    return this.#connect.at(now);
  }

  responseMs(now: number): number {
    return this.#response.at(now);
  }

  /** Expected wait of one more connection; only comparisons have a meaning. An idle endpoint's does not depend on weight. */
  cost(now: number, weight: number): number {
    return (this.#connect.at(now) + noiseMs) * (1 + this.pending / weight);
  }

  /** The same of one more request: every request under way is work the endpoint still has to do. */
  requestCost(now: number, weight: number): number {
    return (this.#response.at(now) + noiseMs) * (1 + this.open / weight);
  }
}

class PeakAverage {
  #ms = 0;
  #observedAt = 0;

  observe(ms: number, now: number): void {
    const decayed = this.#weightAt(now);
    this.#ms = Math.max(ms, this.#ms * decayed + ms * (1 - decayed));
    this.#observedAt = now;
  }

  at(now: number): number {
    return this.#ms * this.#weightAt(now);
  }

  #weightAt(now: number): number {
    return this.#ms === 0 ? 0 : Math.exp(-Math.max(0, now - this.#observedAt) / decayMs);
  }
}
