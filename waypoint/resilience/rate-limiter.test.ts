import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { RateLimit } from '../../mesh/model/traffic-policy.ts';
import { limitTableMemory } from './limit-table.ts';
import { type LimitedRequest, RateLimiter, rateLimitFields } from './rate-limiter.ts';

function head(fields: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'api',
    path: '/',
    upgrade: undefined,
    headers: [],
    ...fields,
  };
}

function request(fields: Partial<LimitedRequest> = {}): LimitedRequest {
  return {
    head: head(),
    identity: 'spiffe://c/ns/a/sa/web',
    namespace: 'a',
    sourceIp: '10.0.0.1',
    ...fields,
  };
}

function limit(fields: Partial<RateLimit> = {}): RateLimit {
  return { key: { kind: 'all' }, requests: 10, intervalMs: 1_000, burst: 10, when: undefined, ...fields };
}

let now = 0;
function limiter(options: { keys?: number; shards?: number } = {}): RateLimiter {
  now = 1_000_000;
  return new RateLimiter({
    now: () => now,
    ...(options.keys === undefined ? {} : { memory: limitTableMemory(options.keys) }),
    ...(options.shards === undefined ? {} : { shards: options.shards }),
  });
}

describe('RateLimiter', () => {
  it('lets a burst through, then one request an emission interval', () => {
    const rates = limiter();
    const limits = [limit()];
    const burst = Array.from({ length: 12 }, () => rates.check(limits, request(), 's').allowed);
    expect(burst.filter(Boolean)).toHaveLength(10);
    now += 99;
    expect(rates.check(limits, request(), 's').allowed).toBe(false);
    now += 1;
    expect(rates.check(limits, request(), 's').allowed).toBe(true);
    expect(rates.check(limits, request(), 's').allowed).toBe(false);
  });

  it('has no opinion without limits and of requests that no limit concerns', () => {
    const rates = limiter();
    const post = { pathPrefix: undefined, methods: ['POST'], headers: [] };
    expect(rates.check(undefined, request(), 's')).toMatchObject({ allowed: true, limit: undefined });
    const decision = rates.check([limit({ when: post, burst: 1 })], request(), 's');
    expect(decision).toMatchObject({ allowed: true, limit: undefined });
    expect(rateLimitFields(decision)).toEqual([]);
  });

  it.each([
    ['identity', { identity: 'spiffe://c/ns/a/sa/other' }],
    ['namespace', { namespace: 'b' }],
    ['source-ip', { sourceIp: '10.0.0.2' }],
    ['header', { head: head({ headers: [['x-tenant', 'blue']] }) }],
  ] as const)('has a bucket for each %s', (kind, other) => {
    const rates = limiter();
    const key = kind === 'header' ? ({ kind, name: 'x-tenant' } as const) : { kind };
    const limits = [limit({ key, burst: 1, requests: 1 })];
    expect(rates.check(limits, request(), 's').allowed).toBe(true);
    expect(rates.check(limits, request(), 's').allowed).toBe(false);
    expect(rates.check(limits, request(other), 's').allowed).toBe(true);
    expect(rates.check(limits, request(), 'other scope').allowed).toBe(true);
  });

  it('tells clients without an identity apart by address, and not from those that have one', () => {
    const rates = limiter();
    const limits = [limit({ key: { kind: 'identity' }, burst: 1, requests: 1 })];
    const plain = (sourceIp: string) =>
      rates.check(limits, request({ identity: undefined, sourceIp }), 's').allowed;
    expect(rates.check(limits, request(), 's').allowed).toBe(true);
    expect([plain('10.0.0.1'), plain('10.0.0.1'), plain('10.0.0.2')]).toEqual([true, false, true]);
  });

  it('takes no token of one limit when another refuses', () => {
    const rates = limiter();
    const wide = limit({ burst: 5, requests: 5 });
    const limits = [wide, limit({ burst: 1, requests: 1, intervalMs: 60_000 })];
    expect(rates.check(limits, request(), 's').allowed).toBe(true);
    for (let i = 0; i < 20; i++) {
      expect(rates.check(limits, request(), 's')).toMatchObject({ allowed: false, limit: limits[1] });
    }
    expect(rates.check([wide], request(), 's').remaining).toBe(3);
  });

  it('says what is left of the tightest limit, and when to come back', () => {
    const rates = limiter();
    const limits = [
      limit({ requests: 100, burst: 100 }),
      limit({ key: { kind: 'identity' }, requests: 6, intervalMs: 60_000, burst: 2 }),
    ];
    const first = rates.check(limits, request(), 's');
    expect(rateLimitFields(first)).toEqual([
      ['ratelimit-policy', '"identity";q=6;w=60'],
      ['ratelimit', '"identity";r=1;t=10'],
    ]);
    rates.check(limits, request(), 's');
    const refused = rates.check(limits, request(), 's');
    expect(refused).toMatchObject({ allowed: false, retryAfterMs: 10_000, fullAfterMs: 20_000 });
    expect(rateLimitFields(refused)).toEqual([
      ['ratelimit-policy', '"identity";q=6;w=60'],
      ['ratelimit', '"identity";r=0;t=10'],
      ['retry-after', '10'],
    ]);
  });

  it('is one limit for limiters that share memory, and a share of it for those that do not', () => {
    const memory = limitTableMemory(1_000);
    now = 5;
    const workers = [1, 2, 3].map(() => new RateLimiter({ now: () => now, memory, shards: 3 }));
    const count = (limiters: RateLimiter[]) =>
      Array.from({ length: 60 }, (_, i) =>
        limiters[i % limiters.length]?.check([limit({ burst: 9, requests: 9 })], request(), 's'),
      ).filter((decision) => decision?.allowed).length;
    expect(count(workers)).toBe(9);
    const apart = [1, 2, 3].map(() => new RateLimiter({ now: () => now, shards: 3 }));
    expect(count(apart)).toBe(9);
  });
});

describe('RateLimiter properties', () => {
  const shape = fc.record({
    requests: fc.integer({ min: 1, max: 1_000 }),
    intervalMs: fc.constantFrom(1, 7, 1_000, 60_000, 86_400_000),
    burst: fc.integer({ min: 1, max: 20 }),
  });

  it('never lets more through than burst plus rate, over any stretch of time, and never less than the rate', () => {
    fc.assert(
      fc.property(
        shape,
        fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 1, maxLength: 200 }),
        (fields, gaps) => {
          const rates = limiter();
          const limits = [limit(fields)];
          const emissionMs = fields.intervalMs / fields.requests;
          const passed: number[] = [];
          for (const gap of gaps) {
            now += gap * emissionMs;
            const { allowed, retryAfterMs } = rates.check(limits, request(), 's');
            if (allowed) passed.push(now);
            else {
              expect(retryAfterMs).toBeGreaterThan(0);
              expect(retryAfterMs).toBeLessThanOrEqual(emissionMs * 1.001);
            }
          }
          for (let i = 0; i < passed.length; i++) {
            for (let j = i; j < passed.length; j++) {
              const windowMs = (passed[j] as number) - (passed[i] as number);
              expect(j - i + 1).toBeLessThanOrEqual(fields.burst + windowMs / emissionMs + 1e-3);
            }
          }
          // What did not come in bursts comes through whole.
          expect(passed.length).toBeGreaterThanOrEqual(
            Math.min(gaps.length, gaps.filter((gap) => gap >= 1.001).length),
          );
        },
      ),
    );
  });

  it('lets a client through that waited as long as it was told', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 60 }), (fields, count) => {
        const rates = limiter();
        const limits = [limit(fields)];
        for (let i = 0; i < count; i++) {
          const { allowed, retryAfterMs } = rates.check(limits, request(), 's');
          if (allowed) continue;
          now += retryAfterMs;
          expect(rates.check(limits, request(), 's').allowed).toBe(true);
        }
      }),
    );
  });

  it('holds every key to its limit when there are far more keys than memory', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.tuple(fc.nat(120), fc.integer({ min: 0, max: 40 })), { minLength: 50, maxLength: 600 }),
        (burst, steps) => {
          const rates = limiter({ keys: 32 });
          const limits = [
            limit({ key: { kind: 'source-ip' }, requests: burst, intervalMs: 1_000 * burst, burst }),
          ];
          const passed = new Map<number, number[]>();
          const start = now;
          for (const [client, gap] of steps) {
            now += gap;
            const { allowed } = rates.check(limits, request({ sourceIp: `10.0.0.${client}` }), 's');
            if (allowed) passed.set(client, [...(passed.get(client) ?? []), now]);
          }
          for (const times of passed.values()) {
            expect(times.length).toBeLessThanOrEqual(burst + (now - start) / 1_000 + 1e-3);
          }
        },
      ),
    );
  });

  it('does not forget a key that is limited when a flood of new keys comes', () => {
    const rates = limiter({ keys: 64 });
    const limits = [limit({ key: { kind: 'source-ip' }, requests: 5, intervalMs: 5_000, burst: 5 })];
    for (let i = 0; i < 5; i++) rates.check(limits, request(), 's');
    for (let i = 0; i < 10_000; i++) rates.check(limits, request({ sourceIp: `2001:db8::${i}` }), 's');
    expect(rates.check(limits, request(), 's').allowed).toBe(false);
  });
});
