// How many requests a service may have under way and waiting from this worker: the limits that open its circuit. Counts
// only; every request that was admitted must say when it ends.

import type { ServiceKey } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { RetryBudget } from './retry-budget.ts';

export class RequestLimits {
  readonly #shards: number;
  readonly #services = new Map<ServiceKey, ServiceRequests>();

  /** @param options.shards data workers of the waypoint: each enforces its share of a limit, at least one */
  constructor(options: { readonly shards?: number } = {}) {
    this.#shards = options.shards ?? 1;
  }

  /** The counters of one service; to be kept by a request as long as it runs. */
  of(service: ServiceKey): ServiceRequests {
    let counters = this.#services.get(service);
    if (counters === undefined) {
      counters = new ServiceRequests(this.#shards);
      this.#services.set(service, counters);
    }
    return counters;
  }

  /** Forgets services that are gone; requests under way keep their counters. */
  remove(services: Iterable<ServiceKey>): void {
    for (const service of services) this.#services.delete(service);
  }

  get size(): number {
    return this.#services.size;
  }
}

export class ServiceRequests {
  readonly retryBudget: RetryBudget;
  readonly #shards: number;
  #active = 0;
  #waiting = 0;

  constructor(shards: number) {
    this.#shards = shards;
    this.retryBudget = new RetryBudget({ shards });
  }

  /** Requests between `tryStart` and `end`. */
  get active(): number {
    return this.#active;
  }

  /** Requests between `tryWait` and `stopWaiting`. */
  get waiting(): number {
    return this.#waiting;
  }

  /** False: too many are under way, answer 503 with flag UO. True: `end` is to follow, once. */
  tryStart(policy: HttpTrafficPolicy | undefined): boolean {
    if (this.#isFull(this.#active, policy?.maxRequests)) return false;
    this.#active++;
    return true;
  }

  end(): void {
    this.#active--;
  }

  /** For a request that needs a connection which is not open yet. True: `stopWaiting` is to follow, once. */
  tryWait(policy: HttpTrafficPolicy | undefined): boolean {
    if (this.#isFull(this.#waiting, policy?.maxPendingRequests)) return false;
    this.#waiting++;
    return true;
  }

  stopWaiting(): void {
    this.#waiting--;
  }

  #isFull(count: number, limit: number | undefined): boolean {
    return limit !== undefined && count >= Math.max(1, Math.floor(limit / this.#shards));
  }
}
