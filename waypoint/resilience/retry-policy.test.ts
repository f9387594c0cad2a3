import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { backoffMs } from './backoff.ts';
import { hedgeDelayMs } from './hedging.ts';
import { isIdempotent, retrySettings, shouldRetry, statusOf, type TryFailure } from './retry-policy.ts';

const get = { method: 'GET', replayable: true, retries: 0 };
const post = { ...get, method: 'POST' };
const policy = (fields: Partial<HttpTrafficPolicy>): HttpTrafficPolicy => ({ key: 'shop/api', ...fields });
const retry = { attempts: 3, codes: [500, 503], backoffMs: 50, unsafe: false };

describe('retrySettings()', () => {
  it('tries two other endpoints without any policy, for requests that none has seen', () => {
    const settings = retrySettings(undefined, undefined);
    expect(shouldRetry(settings, { kind: 'connect' }, post)).toBe(true);
    expect(shouldRetry(settings, { kind: 'refused' }, { ...post, retries: 1 })).toBe(true);
    expect(shouldRetry(settings, { kind: 'refused' }, { ...post, retries: 2 })).toBe(false);
    expect(shouldRetry(settings, { kind: 'response', status: 503 }, get)).toBe(false);
  });

  it('takes the route before the policy, and unsafe from the policy', () => {
    const merged = retrySettings(
      { codes: [502], attempts: 1, backoffMs: 100 },
      policy({ retry: { ...retry, unsafe: true } }),
    );
    expect(merged).toEqual({
      attempts: 1,
      codes: [502],
      unsafe: true,
      backoff: { baseMs: 100, floorMs: 100 },
    });
    expect(retrySettings(undefined, policy({ retry }))).toMatchObject({
      attempts: 3,
      codes: [500, 503],
      backoff: { baseMs: 50, floorMs: 0 },
    });
    expect(retrySettings({ codes: [], attempts: 1, backoffMs: undefined }, policy({ retry }))).toMatchObject({
      codes: [],
      backoff: { baseMs: 50, floorMs: 0 },
    });
  });

  it('is the same object for the same two', () => {
    const [route, traffic] = [{ codes: [503], attempts: 1, backoffMs: undefined }, policy({ retry })];
    expect(retrySettings(route, traffic)).toBe(retrySettings(route, traffic));
  });
});

describe('shouldRetry()', () => {
  const settings = retrySettings(undefined, policy({ retry }));

  it.each<[TryFailure, boolean, boolean]>([
    [{ kind: 'connect' }, true, true],
    [{ kind: 'refused' }, true, true],
    [{ kind: 'reset' }, true, false],
    [{ kind: 'timeout' }, true, false],
    [{ kind: 'response', status: 503 }, true, false],
    [{ kind: 'response', status: 502 }, false, false],
    [{ kind: 'response', status: 200, grpcStatus: 14 }, true, false],
    [{ kind: 'response', status: 200, grpcStatus: 0 }, false, false],
    [{ kind: 'response', status: 200, grpcStatus: 5 }, false, false],
    [{ kind: 'response', status: 200, grpcStatus: 99 }, false, false],
  ])('of %j: GET %s, POST %s', (failure, whenGet, whenPost) => {
    expect(shouldRetry(settings, failure, get)).toBe(whenGet);
    expect(shouldRetry(settings, failure, post)).toBe(whenPost);
    expect(shouldRetry({ ...settings, unsafe: true }, failure, post)).toBe(whenGet);
  });

  it('never repeats what can not be sent again, nor more often than allowed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('connect', 'refused', 'reset', 'timeout'),
        fc.nat(6),
        fc.boolean(),
        fc.boolean(),
        (kind, retries, replayable, unsafe) => {
          const again = shouldRetry(
            { ...settings, unsafe },
            { kind },
            { method: 'GET', replayable, retries },
          );
          expect(again).toBe(replayable && retries < 3);
        },
      ),
    );
  });

  it('knows the idempotent methods of RFC 9110 and no others', () => {
    expect(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'].every(isIdempotent)).toBe(true);
    expect(['POST', 'PATCH', 'CONNECT', 'get', 'LOCK', ''].some(isIdempotent)).toBe(false);
  });
});

describe('statusOf()', () => {
  it('takes a gRPC status that is no success for what it means in HTTP', () => {
    const statuses = [undefined, 0, 14, 13, 4, 5, 99].map((grpcStatus) => statusOf(200, grpcStatus));
    expect(statuses).toEqual([200, 200, 503, 500, 504, 404, 200]);
  });
});

describe('backoffMs()', () => {
  it('stays between the floor and a range that doubles up to ten times', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 0.999_999, noNaN: true }),
        (baseMs, floorMs, nth, random) => {
          const wait = backoffMs({ baseMs, floorMs }, nth, () => random);
          expect(wait).toBeGreaterThanOrEqual(floorMs);
          expect(wait).toBeLessThanOrEqual(floorMs + baseMs * Math.min(2 ** (nth - 1), 10));
        },
      ),
    );
    expect([1, 2, 3, 4, 5, 6].map((nth) => backoffMs({ baseMs: 10, floorMs: 0 }, nth, () => 0.5))).toEqual([
      5, 10, 20, 40, 50, 50,
    ]);
  });
});

describe('hedgeDelayMs()', () => {
  const hedging = { delayMs: 30, maxAttempts: 3 };

  it('allows as many tries as the policy says, for idempotent requests that can be sent again', () => {
    const delay = (fields: object) =>
      hedgeDelayMs(policy({ hedging }), { method: 'GET', replayable: true, tries: 1, ...fields });
    expect([delay({}), delay({ tries: 2 }), delay({ tries: 3 })]).toEqual([30, 30, undefined]);
    expect(delay({ method: 'POST' })).toBeUndefined();
    expect(delay({ replayable: false })).toBeUndefined();
    expect(hedgeDelayMs(undefined, { method: 'GET', replayable: true, tries: 1 })).toBeUndefined();
  });
});
