import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatGrpcTimeout, parseGrpcTimeout, timeoutsFor, tryTimeoutMs } from './deadlines.ts';

const route = (requestMs?: number, backendRequestMs?: number) => ({ requestMs, backendRequestMs });
const policy = { key: 'shop/api', requestTimeoutMs: 1_000, perTryTimeoutMs: 400 };

describe('timeoutsFor()', () => {
  it.each([
    [route(), policy, undefined, { requestMs: 1_000, perTryMs: 400 }],
    [route(500), policy, undefined, { requestMs: 500, perTryMs: 400 }],
    [route(300), policy, undefined, { requestMs: 300, perTryMs: 300 }],
    [route(0), policy, undefined, { requestMs: undefined, perTryMs: 400 }],
    [route(0, 0), policy, undefined, { requestMs: undefined, perTryMs: undefined }],
    [route(), undefined, undefined, { requestMs: undefined, perTryMs: undefined }],
    [undefined, undefined, 50, { requestMs: 50, perTryMs: 50 }],
    [route(0, 0), policy, 50, { requestMs: 50, perTryMs: 50 }],
    [route(), policy, 5_000, { requestMs: 1_000, perTryMs: 400 }],
  ])('of route %j, policy %j, client %j is %j', (written, traffic, grpc, expected) => {
    expect(timeoutsFor(written, traffic, grpc)).toEqual(expected);
  });
});

describe('tryTimeoutMs()', () => {
  it('ends each try with the request at the latest', () => {
    const timeouts = timeoutsFor(undefined, policy);
    expect([0, 500, 700, 1_000, 2_000].map((elapsed) => tryTimeoutMs(timeouts, elapsed))).toEqual([
      400, 400, 300, 0, 0,
    ]);
    expect(tryTimeoutMs(timeoutsFor(undefined, undefined), 99)).toBeUndefined();
    expect(tryTimeoutMs(timeoutsFor(route(0), policy), 5_000)).toBe(400);
  });
});

describe('grpc-timeout', () => {
  it.each([
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['45m', 45],
    ['500u', 0.5],
    ['99999999n', 99.999_999],
    ['0S', 0],
  ])('reads %s', (text, ms) => expect(parseGrpcTimeout(text)).toBeCloseTo(ms, 9));

  it.each(['', 'S', '1', '1s', '-1S', '1.5S', '123456789S', ' 1S', '1S ', '0x1S'])('refuses "%s"', (text) =>
    expect(parseGrpcTimeout(text)).toBeUndefined(),
  );

  it('never promises more time than is left, and loses little', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e12, noNaN: true }), (ms) => {
        const text = formatGrpcTimeout(ms);
        const read = parseGrpcTimeout(text);
        expect(read).toBeDefined();
        expect(read).toBeLessThanOrEqual(ms + 1e-6);
        if (ms < 9e10) expect(read).toBeGreaterThan(ms * 0.999 - 0.002);
      }),
    );
  });
});
