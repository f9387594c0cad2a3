// What an endpoint's responses say about it: failures in a row, and compared with the others of its service, over
// stretches of ten seconds, its share of good responses and its usual latency. Decides who is an outlier; ejecting, and
// how many at most, is the balancer's.

import type { HttpTrafficPolicy } from '../model/traffic-policy.ts';

export type HttpOutlierDetection = NonNullable<HttpTrafficPolicy['httpOutlierDetection']>;

/** Endpoints are compared this often (Envoy's default). */
export const comparisonIntervalMs = 10_000;
/** Fewer responses, or fewer endpoints with that many, say too little. */
const minResponses = 20;
const minEndpoints = 3;
/** When all others are (nearly) perfect, a success rate is an outlier from this many percent points a deviation on. */
const minDeviation = 0.02;
/** A latency is no outlier before it is this much longer than that of the others: below it is scheduling noise. */
const minSlownessMs = 10;

/** Quarter octaves from an eighth of a ms to 8 s: a median is off by a tenth at most. */
const buckets = 64;
const firstBucketMs = 0.125;

/** Of one endpoint. */
export class HttpStatistics {
  #consecutive5xx = 0;
  #consecutiveGateway = 0;
  #responses = 0;
  #successes = 0;
  #latencies: Uint32Array | undefined;

  /** Responses since the last comparison. */
  get responses(): number {
    return this.#responses;
  }

  /** 0 to 1. */
  get successRate(): number {
    return this.#responses === 0 ? 1 : this.#successes / this.#responses;
  }

  /** Returns true if as many failed in a row as the policy ejects for. @param status 0: reset, no response */
  count(status: number, latencyMs: number, policy: HttpOutlierDetection): boolean {
    const failed = isServerFailure(status);
    this.#responses++;
    if (!failed) this.#successes++;
    if (policy.latencyFactor > 0) this.#countLatency(latencyMs);
    this.#consecutive5xx = failed ? this.#consecutive5xx + 1 : 0;
    this.#consecutiveGateway = isGatewayError(status) ? this.#consecutiveGateway + 1 : 0;
    const { consecutive5xx, consecutiveGatewayErrors } = policy;
    return (
      (consecutive5xx > 0 && this.#consecutive5xx >= consecutive5xx) ||
      (consecutiveGatewayErrors > 0 && this.#consecutiveGateway >= consecutiveGatewayErrors)
    );
  }

  /** Ms that half of the responses took at most. */
  medianLatencyMs(): number {
    const latencies = this.#latencies;
    if (latencies === undefined) return 0;
    let total = 0;
    for (const count of latencies) total += count;
    let below = 0;
    for (let i = 0; i < buckets; i++) {
      below += latencies[i] as number;
      if (below * 2 >= total) return firstBucketMs * 2 ** ((i + 0.5) / 4);
    }
    return 0;
  }

  /** A new stretch begins; failures in a row go on. */
  startOver(): void {
    this.#responses = 0;
    this.#successes = 0;
    this.#latencies?.fill(0);
  }

  /** The endpoint was ejected: failures before that do not count again. */
  forgiveRow(): void {
    this.#consecutive5xx = 0;
    this.#consecutiveGateway = 0;
  }

  #countLatency(ms: number): void {
    this.#latencies ??= new Uint32Array(buckets);
    const bucket = Math.floor(4 * Math.log2(Math.max(ms, firstBucketMs) / firstBucketMs));
    const index = Math.min(bucket, buckets - 1);
    this.#latencies[index] = (this.#latencies[index] as number) + 1;
  }
}

/** 5xx or no response. */
export function isServerFailure(status: number): boolean {
  return status >= 500 || status === 0;
}

function isGatewayError(status: number): boolean {
  return status === 502 || status === 503 || status === 504 || status === 0;
}

interface Measured<T> {
  readonly endpoint: T;
  readonly statistics: HttpStatistics;
}

/**
 * Endpoints that do worse than the others since the last comparison, the worst first. Each is compared with the others
 * only, not with a mean it is part of: of three endpoints a bad one is at most 1.2 deviations from their common mean.
 */
export function findOutliers<T>(measured: readonly Measured<T>[], policy: HttpOutlierDetection): T[] {
  const telling = measured.filter(({ statistics }) => statistics.responses >= minResponses);
  if (telling.length < minEndpoints) return [];
  const badness = new Map<T, number>();
  if (policy.successRateDeviations > 0) rateSuccess(telling, policy.successRateDeviations, badness);
  if (policy.latencyFactor > 0) rateLatency(telling, policy.latencyFactor, badness);
  return [...badness].sort(([, a], [, b]) => b - a).map(([endpoint]) => endpoint);
}

function rateSuccess<T>(telling: readonly Measured<T>[], deviations: number, badness: Map<T, number>): void {
  let [sum, squares] = [0, 0];
  for (const { statistics } of telling) {
    sum += statistics.successRate;
    squares += statistics.successRate ** 2;
  }
  const others = telling.length - 1;
  for (const { endpoint, statistics } of telling) {
    const { successRate, responses } = statistics;
    const mean = (sum - successRate) / others;
    const variance = Math.max(0, (squares - successRate ** 2) / others - mean ** 2);
    // What chance alone does to a rate counted over so few responses.
    const expected = Math.min(mean, 1 - 1 / responses);
    const chance = Math.sqrt((expected * (1 - expected)) / responses);
    const below = (mean - successRate) / Math.max(Math.sqrt(variance), chance, minDeviation);
    if (below > deviations) badness.set(endpoint, below / deviations);
  }
}

function rateLatency<T>(telling: readonly Measured<T>[], factor: number, badness: Map<T, number>): void {
  const medians = telling
    .map(({ endpoint, statistics }) => ({ endpoint, ms: statistics.medianLatencyMs() }))
    .sort((a, b) => a.ms - b.ms);
  for (const [i, { endpoint, ms }] of medians.entries()) {
    const usual = medianWithout(medians, i);
    if (ms <= usual * factor || ms - usual < minSlownessMs) continue;
    badness.set(endpoint, Math.max(badness.get(endpoint) ?? 0, ms / (usual * factor)));
  }
}

/** Median of a sorted list without one of its entries; of an even number the lower. */
function medianWithout(sorted: readonly { readonly ms: number }[], without: number): number {
  const middle = Math.floor((sorted.length - 2) / 2);
  return sorted[middle < without ? middle : middle + 1]?.ms ?? 0;
}
