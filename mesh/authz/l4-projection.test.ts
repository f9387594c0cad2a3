import { describe, expect, test } from 'vitest';
import { type Match, type Rule, emptyHttp, emptyMatch } from '../model/authorization.ts';
import { makePolicy } from '../model/fixture.ts';
import type { GatewayKey } from '../model/routing.ts';
import { toL4 } from './l4-projection.ts';

const http = { ...emptyHttp, methods: [{ kind: 'exact' as const, value: 'GET' }] };
const fromShop: Match = { ...emptyMatch, namespaces: [{ kind: 'exact', value: 'shop' }] };
const rule = (...clauses: Match[][]): Rule => ({
  name: 'r',
  clauses: clauses.map((matches) => ({ matches })),
});

describe('toL4()', () => {
  test('leaves a policy without requests as it is', () => {
    const policy = makePolicy('shop', 'p', { rules: [rule([fromShop])] });
    expect(toL4(policy)).toBe(policy);
  });

  test('has nothing of a policy that only waypoints enforce', () => {
    const targets = [{ kind: 'gateway' as const, gateway: 'shop/wp' as GatewayKey }];
    expect(toL4(makePolicy('shop', 'p', { scope: 'target', targets }))).toBeUndefined();
  });

  test('admits nothing by an ALLOW rule that needs a request', () => {
    const rules = [rule([fromShop], [{ ...emptyMatch, http }]), rule([fromShop, { ...fromShop, http }])];
    expect(toL4(makePolicy('shop', 'p', { rules }))?.rules).toEqual([rule([fromShop])]);
  });

  test.each(['deny', 'audit'] as const)('takes conditions about requests for true in a %s rule', (action) => {
    const rules = [
      rule([fromShop], [{ ...emptyMatch, http }]),
      rule([{ ...fromShop, http }]),
      rule([{ ...emptyMatch, http }]),
    ];
    const projected = toL4(makePolicy('shop', 'p', { action, rules }))?.rules;
    expect(projected).toEqual([rule([fromShop]), rule([fromShop]), rule()]);
  });
});
