// How many retries a service gets: a share of the requests of the last ten seconds, and a few a second in any case, so
// that a service that is down is not hit several times as hard for it. One budget a service and worker.

import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';

export type RetryBudgetSettings = NonNullable<HttpTrafficPolicy['retryBudget']>;

/** A fifth more load is what most services stand; ten a second keep a quiet service's retries working (as Linkerd's). */
export const defaultRetryBudget: RetryBudgetSettings = { percent: 20, minPerSecond: 10 };

const slots = 10;
const slotMs = 1_000;

export class RetryBudget {
  readonly #requests = new Float64Array(slots);
  readonly #retries = new Float64Array(slots);
  readonly #shards: number;
  /** Number of the newest slot since the beginning of time. */
  #newest = 0;

  /** @param options.shards data workers: each grants its share of the retries that are always allowed */
  constructor(options: { readonly shards?: number } = {}) {
    this.#shards = options.shards ?? 1;
  }

  /** A request came, tries beside. @param now monotonic ms */
  requested(now: number): void {
    this.#turn(now);
    add(this.#requests, this.#newest % slots);
  }

  /**
   * True if one more retry is within the budget, and takes it: over any ten whole seconds there are never more retries
   * than `percent` of the requests and `minPerSecond` in each.
   */
  tryRetry(now: number, settings: RetryBudgetSettings = defaultRetryBudget): boolean {
    this.#turn(now);
    const { percent, minPerSecond } = settings;
    const always = minPerSecond === 0 ? 0 : Math.max(1, (minPerSecond * slots) / this.#shards);
    if (sum(this.#retries) + 1 > (sum(this.#requests) * percent) / 100 + always) return false;
    add(this.#retries, this.#newest % slots);
    return true;
  }

  /** Empties the slots that are older than ten seconds. */
  #turn(now: number): void {
    const newest = Math.floor(now / slotMs);
    for (let slot = Math.max(this.#newest, newest - slots) + 1; slot <= newest; slot++) {
      this.#requests[slot % slots] = 0;
      this.#retries[slot % slots] = 0;
    }
    if (newest > this.#newest) this.#newest = newest;
  }
}

function add(counts: Float64Array, slot: number): void {
  counts[slot] = (counts[slot] as number) + 1;
}

function sum(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}
