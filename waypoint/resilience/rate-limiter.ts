// Whether a request is within its rate limits. Each limit has a token bucket for each value of its key; a request takes
// one token of every limit that concerns it, or none at all. Memory is bounded, see LimitTable.

import { hashText } from '../../mesh/balance/text-hash.ts';
import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { RateLimit } from '../../mesh/model/traffic-policy.ts';
import { type BucketShape, LimitTable, limitTableMemory } from './limit-table.ts';
import { meetsCondition } from './request-condition.ts';

/** Who asks for what. */
export interface LimitedRequest {
  readonly head: RequestHead;
  /** SPIFFE id of the client; undefined for one outside the mesh. */
  readonly identity: string | undefined;
  readonly namespace: string | undefined;
  /** Of the original client. */
  readonly sourceIp: string;
}

export interface LimitDecision {
  readonly allowed: boolean;
  /** The limit that refused, else the one with the smallest share left; undefined if none concerns the request. */
  readonly limit: RateLimit | undefined;
  /** Requests that limit would still let through at once. */
  readonly remaining: number;
  /** Until the limit lets a request through again; 0 if it does now. */
  readonly retryAfterMs: number;
  /** Until its bucket is full. */
  readonly fullAfterMs: number;
}

/** 2 MiB; about a third of a million requests a second by distinct clients would fill it, at 10 tokens each. */
const defaultMaxKeys = 131_072;

const unlimited: LimitDecision = Object.freeze({
  allowed: true,
  limit: undefined,
  remaining: Number.POSITIVE_INFINITY,
  retryAfterMs: 0,
  fullAfterMs: 0,
});

/** What is the same for every request: computed once a limit and scope. */
interface Prepared {
  readonly scope: string;
  readonly index: number;
  readonly seedA: number;
  readonly seedB: number;
  readonly shape: BucketShape;
}

export class RateLimiter {
  readonly #table: LimitTable;
  readonly #now: () => number;
  readonly #shards: number;
  readonly #prepared = new WeakMap<RateLimit, Prepared>();

  /**
   * @param options.now ms; with shared memory on a clock all workers share: `performance.timeOrigin` + the reactor's
   * @param options.memory of `limitTableMemory`, shared by the workers: they enforce each limit together
   * @param options.shards workers that do not share memory: each enforces its share of a limit
   */
  constructor(options: {
    readonly now: () => number;
    readonly memory?: SharedArrayBuffer;
    readonly shards?: number;
  }) {
    this.#now = options.now;
    this.#table = new LimitTable(options.memory ?? limitTableMemory(defaultMaxKeys));
    this.#shards = options.memory === undefined ? (options.shards ?? 1) : 1;
  }

  /** @param scope what has buckets of its own: `<policy key>|<service key>` */
  check(limits: readonly RateLimit[] | undefined, request: LimitedRequest, scope: string): LimitDecision {
    if (limits === undefined || limits.length === 0) return unlimited;
    const now = this.#now();
    let tightest: LimitDecision = unlimited;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as RateLimit;
      if (!meetsCondition(request.head, limit.when)) continue;
      const prepared = this.#prepare(limit, i, scope);
      const key = keyOf(limit, request);
      const { shape } = prepared;
      const result = this.#table.take(hashText(key, prepared.seedA), hashText(key, prepared.seedB), {
        shape,
        now,
      });
      if (!(result >= 0)) {
        this.#giveBack(limits, i, { request, scope });
        return refusal(limit, -result, shape);
      }
      const remaining = Math.floor(shape.burst - result / shape.emissionMs + 1e-6);
      if (remaining / shape.burst >= least) continue;
      least = remaining / shape.burst;
      tightest = { allowed: true, limit, remaining, retryAfterMs: 0, fullAfterMs: result };
    }
    return tightest;
  }

  #giveBack(
    limits: readonly RateLimit[],
    end: number,
    { request, scope }: { readonly request: LimitedRequest; readonly scope: string },
  ): void {
    for (let i = 0; i < end; i++) {
      const limit = limits[i] as RateLimit;
      if (!meetsCondition(request.head, limit.when)) continue;
      const { seedA, seedB, shape } = this.#prepare(limit, i, scope);
      const key = keyOf(limit, request);
      this.#table.giveBack(hashText(key, seedA), hashText(key, seedB), shape);
    }
  }

  #prepare(limit: RateLimit, index: number, scope: string): Prepared {
    const known = this.#prepared.get(limit);
    if (known?.scope === scope && known.index === index) return known;
    const name = `${scope}|${index}|`;
    const prepared: Prepared = {
      scope,
      index,
      seedA: hashText(name, this.#table.seedA),
      seedB: hashText(name, this.#table.seedB),
      shape: {
        emissionMs: (limit.intervalMs / limit.requests) * this.#shards,
        burst: Math.max(1, Math.floor(limit.burst / this.#shards)),
      },
    };
    this.#prepared.set(limit, prepared);
    return prepared;
  }
}

function refusal(limit: RateLimit, retryAfterMs: number, { emissionMs, burst }: BucketShape): LimitDecision {
  const fullAfterMs = retryAfterMs + (burst - 1) * emissionMs;
  return { allowed: false, limit, remaining: 0, retryAfterMs, fullAfterMs };
}

/** Clients without what the key asks for are told apart by their address; requests without the header share a bucket. */
function keyOf({ key }: RateLimit, request: LimitedRequest): string {
  switch (key.kind) {
    case 'all':
      return '';
    case 'identity':
      return request.identity ?? request.sourceIp;
    case 'namespace':
      return request.namespace === undefined ? `/${request.sourceIp}` : request.namespace;
    case 'source-ip':
      return request.sourceIp;
    case 'header':
      return headerValue(request.head.headers, key.name) ?? '';
  }
}

/**
 * Fields for the response: RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-09: structured fields,
 * `q` quota, `w` window in s, `r` remaining, `t` s until there is more), with Retry-After (RFC 9110 section 10.2.3) on
 * a refusal. Empty if no limit concerned the request.
 */
export function rateLimitFields(decision: LimitDecision): Header[] {
  const { limit, remaining, allowed, retryAfterMs, fullAfterMs } = decision;
  if (limit === undefined) return [];
  const name = `"${limit.key.kind}"`;
  const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000));
  const fields: Header[] = [
    ['ratelimit-policy', `${name};q=${limit.requests};w=${seconds(limit.intervalMs)}`],
    ['ratelimit', `${name};r=${remaining};t=${seconds(allowed ? fullAfterMs : retryAfterMs)}`],
  ];
  if (!allowed) fields.push(['retry-after', String(seconds(retryAfterMs))]);
  return fields;
}
