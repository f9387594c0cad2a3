// Delays between attempts: exponential with full jitter, so that a thousand nodes that lost one controller do not
// come back in one moment. Owns no timer; the caller waits by its Clock.

export interface BackoffOptions {
  /** Upper bound of the first delay, in ms; also the lower bound of every delay without jitter. */
  readonly minMs: number;
  /** Upper bound of every delay, in ms. */
  readonly maxMs: number;
  /** Growth of the bound from one attempt to the next; default 2. */
  readonly factor?: number;
  /** Share of the delay that is random: 1 (default) is full jitter, 0 none. */
  readonly jitter?: number;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
}

export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #factor: number;
  readonly #jitter: number;
  readonly #random: () => number;
  #boundMs: number;

  constructor({ minMs, maxMs, factor = 2, jitter = 1, random = Math.random }: BackoffOptions) {
    const valid =
      minMs > 0 && maxMs >= minMs && Number.isFinite(maxMs) && factor >= 1 && jitter >= 0 && jitter <= 1;
    if (!valid) {
      throw new RangeError(
        `Backoff needs 0 < minMs <= maxMs, factor >= 1 and jitter 0 to 1, got ${minMs}, ${maxMs}, ${factor}, ${jitter}`,
      );
    }
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#factor = factor;
    this.#jitter = jitter;
    this.#random = random;
    this.#boundMs = minMs;
  }

  /** The delay before the next attempt in whole ms; the bound grows with each call up to maxMs. */
  next(): number {
    const bound = this.#boundMs;
    this.#boundMs = Math.min(this.#maxMs, bound * this.#factor);
    return Math.round(bound * (1 - this.#jitter * this.#random()));
  }

  /** After a success: the next delay starts from minMs again. */
  reset(): void {
    this.#boundMs = this.#minMs;
  }
}
