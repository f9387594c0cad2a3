import { describe, expect, it } from 'vitest';
import { serviceKey } from '../../mesh/model/key.ts';
import { RequestLimits } from './request-limits.ts';
import { mergeTrafficSettings, rateLimitScope } from './traffic-settings.ts';

const api = serviceKey('shop', 'api');
const policy = { key: 'shop/api', maxRequests: 2, maxPendingRequests: 1 };

describe('RequestLimits', () => {
  it('opens above the limit and closes when a request ends', () => {
    const requests = new RequestLimits().of(api);
    expect([1, 2, 3].map(() => requests.tryStart(policy))).toEqual([true, true, false]);
    expect(requests.active).toBe(2);
    requests.end();
    expect([requests.tryStart(policy), requests.tryStart(policy)]).toEqual([true, false]);
    expect([requests.tryWait(policy), requests.tryWait(policy)]).toEqual([true, false]);
    requests.stopWaiting();
    expect(requests.tryWait(policy)).toBe(true);
  });

  it('counts without a limit too, so that one that comes later is right', () => {
    const requests = new RequestLimits().of(api);
    for (let i = 0; i < 5; i++) expect(requests.tryStart(undefined)).toBe(true);
    expect(requests.tryStart(policy)).toBe(false);
  });

  it('gives each worker its share, at least one', () => {
    const count = (shards: number) => {
      const requests = new RequestLimits({ shards }).of(api);
      return Array.from({ length: 20 }, () => requests.tryStart({ key: 'k', maxRequests: 8 })).filter(Boolean)
        .length;
    };
    expect([count(1), count(3), count(100)]).toEqual([8, 2, 1]);
  });

  it('forgets services that are gone, without losing a request under way', () => {
    const limits = new RequestLimits();
    const counters = limits.of(api);
    counters.tryStart(policy);
    limits.remove([api]);
    expect(limits.size).toBe(0);
    counters.end();
    expect(counters.active).toBe(0);
  });
});

describe('mergeTrafficSettings()', () => {
  it('takes each field of the route that it has, and the service for the others', () => {
    const service = { key: 'shop/api', requestTimeoutMs: 1_000, maxRequests: 5 };
    const route = { key: 'shop/route', requestTimeoutMs: 200 };
    const merged = mergeTrafficSettings(service, route);
    expect(merged).toEqual({ key: 'shop/route', requestTimeoutMs: 200, maxRequests: 5 });
    expect(mergeTrafficSettings(service, route)).toBe(merged);
    expect(mergeTrafficSettings(service, undefined)).toBe(service);
    expect(mergeTrafficSettings(undefined, route)).toBe(route);
    expect(mergeTrafficSettings(undefined, undefined)).toBeUndefined();
  });

  it('keeps the limits of a service one limit under every route', () => {
    const [limits, others] = [1, 2].map((requests) => [
      { key: { kind: 'all' as const }, requests, intervalMs: 1_000, burst: 1, when: undefined },
    ]) as [never[], never[]];
    const service = { key: 'shop/api', rateLimits: limits };
    const routed = mergeTrafficSettings(service, { key: 'shop/route', requestTimeoutMs: 1 });
    expect(rateLimitScope(routed ?? service, 'shop/api.svc')).toBe(rateLimitScope(service, 'shop/api.svc'));
    const own = mergeTrafficSettings(service, { key: 'shop/route', rateLimits: others });
    expect(rateLimitScope(own ?? service, 'shop/api.svc')).toBe('shop/route|shop/api.svc');
  });
});
