import { describe, expect, test } from 'vitest';
import type { HttpMatchConditions, Match, Rule } from '../model/authorization.ts';
import { makePolicy } from '../model/fixture.ts';
import type { GatewayKey } from '../model/routing.ts';
import { toL4 } from './l4-projection.ts';

const nothing: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};
const http: HttpMatchConditions = {
  hosts: [],
  notHosts: [],
  methods: [{ kind: 'exact', value: 'GET' }],
  notMethods: [],
  paths: [],
  notPaths: [],
  requestPrincipals: [],
  notRequestPrincipals: [],
  headers: [],
  claims: [],
};
const fromShop: Match = { ...nothing, namespaces: [{ kind: 'exact', value: 'shop' }] };
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
    const rules = [rule([fromShop], [{ ...nothing, http }]), rule([fromShop, { ...fromShop, http }])];
    expect(toL4(makePolicy('shop', 'p', { rules }))?.rules).toEqual([rule([fromShop])]);
  });

  test.each(['deny', 'audit'] as const)('takes conditions about requests for true in a %s rule', (action) => {
    const rules = [
      rule([fromShop], [{ ...nothing, http }]),
      rule([{ ...fromShop, http }]),
      rule([{ ...nothing, http }]),
    ];
    const projected = toL4(makePolicy('shop', 'p', { action, rules }))?.rules;
    expect(projected).toEqual([rule([fromShop]), rule([fromShop]), rule()]);
  });
});
