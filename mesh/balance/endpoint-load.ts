// How busy one endpoint is as this worker sees it: connections open and being opened, and the connect time as a
// peak-sensitive moving average (it follows a rise at once and a fall slowly, as Finagle's and Linkerd's do).

/** Time constant of the average; after it, an old value counts 37 %. */
const decayMs = 10_000;

/**
 * Added to every connect time before comparison: below a few ms the difference is noise of one handshake, and without
 * it the nearest endpoint would take all connections.
 */
const noiseMs = 5;

export class EndpointLoad {
  /** Dials under way. */
  pending = 0;
  /** Connections between begin and close, those being opened included. */
  open = 0;
  #connectMs = 0;
  #observedAt = 0;

  /** @param connectMs time from dial to an open tunnel stream. */
  observe(connectMs: number, now: number): void {
    const decayed = this.#weightAt(now);
    const average = this.#connectMs * decayed + connectMs * (1 - decayed);
    this.#connectMs = Math.max(connectMs, average);
    this.#observedAt = now;
  }

  /** A dial that failed after `elapsedMs`: counts if it was slow, never as a sign of speed. */
  observeFailure(elapsedMs: number, now: number): void {
    if (elapsedMs > this.connectMs(now)) this.observe(elapsedMs, now);
  }

  /** The average, fading to 0 while nothing is observed, so that an endpoint once slow is tried again. */
  connectMs(now: number): number {
    return this.#connectMs * this.#weightAt(now);
  }

  /** Expected wait of one more connection; only comparisons have a meaning. An idle endpoint's does not depend on weight. */
  cost(now: number, weight: number): number {
    return (this.connectMs(now) + noiseMs) * (1 + this.pending / weight);
  }

  #weightAt(now: number): number {
    return this.#connectMs === 0 ? 0 : Math.exp(-Math.max(0, now - this.#observedAt) / decayMs);
  }
}
