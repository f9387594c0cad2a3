import { describe, expect, it } from 'vitest';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { Fault } from '../../mesh/model/traffic-policy.ts';
import { chooseFault } from './faults.ts';
import { meetsCondition } from './request-condition.ts';

const head: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'api',
  path: '/cart/items?page=1',
  upgrade: undefined,
  headers: [['x-user', 'tester']],
};

function evenly(): () => number {
  let next = 0;
  // 0.618..: the fractional parts of its multiples are spread evenly.
  return () => (next = (next + 0.618_033_988_749_895) % 1);
}

const abort = { status: 503, grpcStatus: undefined, percent: 25 };

describe('chooseFault()', () => {
  it('aborts and delays the share it is told to', () => {
    const faults: Fault[] = [{ when: undefined, delay: { ms: 100, percent: 100 }, abort }];
    const random = evenly();
    const chosen = Array.from({ length: 4_000 }, () => chooseFault(faults, head, random));
    expect(chosen.every(({ delayMs }) => delayMs === 100)).toBe(true);
    expect(Math.abs(chosen.filter((fault) => fault.abort?.status === 503).length - 1_000)).toBeLessThan(20);
  });

  it('never hits at 0 percent, always at 100', () => {
    const at = (percent: number) =>
      chooseFault([{ when: undefined, delay: undefined, abort: { ...abort, percent } }], head, () => 0);
    expect(at(0).abort).toBeUndefined();
    const always = [{ when: undefined, delay: undefined, abort: { ...abort, percent: 100 } }];
    expect(chooseFault(always, head, () => 0.999_999_999).abort?.status).toBe(503);
  });

  it('takes the longest delay and the first abort of the faults that concern the request', () => {
    const other = { pathPrefix: '/other', methods: [], headers: [] };
    const faults: Fault[] = [
      { when: other, delay: { ms: 900, percent: 100 }, abort: { ...abort, status: 500, percent: 100 } },
      { when: undefined, delay: { ms: 10, percent: 100 }, abort: undefined },
      { when: undefined, delay: { ms: 30, percent: 100 }, abort: { ...abort, percent: 100 } },
      { when: undefined, delay: undefined, abort: { status: 418, grpcStatus: 14, percent: 100 } },
    ];
    const chosen = chooseFault(faults, head, () => 0.5);
    expect([chosen.delayMs, chosen.abort?.status]).toEqual([30, 503]);
    expect(chooseFault(undefined, head, () => 0)).toEqual({ delayMs: 0, abort: undefined });
  });
});

describe('meetsCondition()', () => {
  const none = { pathPrefix: undefined, methods: [], headers: [] };

  it.each([
    [{ ...none, pathPrefix: '/cart' }, true],
    [{ ...none, pathPrefix: '/cart/' }, true],
    [{ ...none, pathPrefix: '/cart/items' }, true],
    [{ ...none, pathPrefix: '/car' }, false],
    [{ ...none, pathPrefix: '/' }, true],
    [{ ...none, methods: ['POST', 'GET'] }, true],
    [{ ...none, methods: ['POST'] }, false],
    [{ ...none, headers: [{ name: 'x-user', value: 'tester' }] }, true],
    [{ ...none, headers: [{ name: 'x-user', value: 'Tester' }] }, false],
    [{ ...none, methods: ['GET'], headers: [{ name: 'x-none', value: '' }] }, false],
    [undefined, true],
  ])('%j is %s', (condition, expected) => expect(meetsCondition(head, condition)).toBe(expected));
});
