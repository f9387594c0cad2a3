// A value that cannot be used never opens anything: whatever is spoilt in a policy, DENY refuses at least what it
// refused before and ALLOW admits at most what it admitted. Judged by the engine the node tunnels use.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ConnectionFacts } from '../../mesh/authz/connection.ts';
import type { HttpFacts } from '../../mesh/authz/http-facts.ts';
import { PolicySet } from '../../mesh/authz/policy-set.ts';
import { ip } from '../../mesh/model/fixture.ts';
import type { AuthorizationRule } from '../resources/own-kinds.ts';
import { buildResources } from '../resources/resources.ts';
import { isBadCondition } from './statuses.ts';
import { translate } from './translate.ts';

const some = <T>(values: readonly T[]) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 });
const principals = ['cluster.local/ns/shop/sa/web', 'cluster.local/ns/shop/*', '*/sa/api', '*'];
const blocks = ['10.0.0.0/8', '10.1.0.1', 'fd00::/16'];
const optional = { requiredKeys: [] as never[] };

const source = fc
  .record(
    {
      principals: some(principals),
      notPrincipals: some(principals),
      namespaces: some(['shop', 'b*', '*']),
      notNamespaces: some(['shop', '*k']),
      ipBlocks: some(blocks),
      notIpBlocks: some(blocks),
      serviceAccounts: some(['shop/web', 'web', 'bank/api']),
      notServiceAccounts: some(['shop/web', 'api']),
      requestPrincipals: some(['iss/ann', 'iss/*', '*']),
      notRequestPrincipals: some(['iss/bob', '*']),
    },
    optional,
  )
  .filter((value) => Object.keys(value).length > 0);
const operation = fc
  .record(
    {
      ports: some(['80', 443]),
      notPorts: some([80, '8080']),
      hosts: some(['a.test', '*.test']),
      notHosts: some(['a.test', 'b.*']),
      methods: some(['GET', 'P*']),
      notMethods: some(['GET']),
      paths: some(['/a', '/a/*', '/{*}/b', '/a/{**}']),
      notPaths: some(['/a', '*b']),
    },
    optional,
  )
  .filter((value) => Object.keys(value).length > 0);
const condition = fc.oneof(
  fc.record(
    { key: fc.constant('source.ip' as const), values: some(blocks), notValues: some(blocks) },
    { requiredKeys: ['key', 'values'] },
  ),
  fc.record({ key: fc.constant('destination.port' as const), notValues: some(['80', '443']) }),
  fc.record({ key: fc.constant('source.principal' as const), values: some(principals) }),
  fc.record(
    {
      key: fc.constantFrom('request.headers[X-A]', 'request.auth.claims[role]', 'request.auth.principal'),
      values: some(['x', 'y*', '*']),
      notValues: some(['xy', '*x']),
    },
    { requiredKeys: ['key', 'values'] },
  ),
);
const rule: fc.Arbitrary<AuthorizationRule> = fc.record(
  {
    from: fc.array(fc.record({ source }), { minLength: 1, maxLength: 2 }),
    to: fc.array(fc.record({ operation }), { minLength: 1, maxLength: 2 }),
    when: fc.array(condition, { minLength: 1, maxLength: 2 }),
  },
  optional,
);
const rules = fc.array(rule, { minLength: 1, maxLength: 3 });

const http: fc.Arbitrary<HttpFacts> = fc
  .record({
    host: fc.constantFrom('a.test', 'b.test'),
    method: fc.constantFrom('GET', 'POST'),
    path: fc.constantFrom('/a', '/a/b', '/c'),
    requestPrincipal: fc.constantFrom('', 'iss/ann', 'iss/bob'),
    claims: fc.constantFrom(undefined, { role: 'x' }, { role: ['y', 'xy'] }),
    lines: fc.constantFrom<string[]>([], ['x'], ['x', 'yx']),
  })
  .map(({ lines, ...rest }) => ({ ...rest, headers: (name) => (name === 'x-a' ? lines : []) }));

const facts: fc.Arbitrary<ConnectionFacts> = fc.record({
  http: fc.option(http, { nil: undefined }),
  peer: fc.option(
    fc.record({
      trustDomain: fc.constantFrom('cluster.local', 'elsewhere'),
      namespace: fc.constantFrom('shop', 'bank'),
      serviceAccount: fc.constantFrom('web', 'api'),
    }),
    { nil: undefined },
  ),
  sourceIp: fc.constantFrom(ip('10.1.0.1'), ip('192.0.2.1'), ip('fd00::1')),
  destinationIp: fc.constant(ip('10.9.0.1')),
  destinationPort: fc.constantFrom(80, 443, 8080),
});

function decide(
  action: 'ALLOW' | 'DENY',
  written: readonly AuthorizationRule[],
  connections: readonly ConnectionFacts[],
) {
  const metadata = {
    name: 'p',
    namespace: 'shop',
    labels: {},
    annotations: {},
    creationTimestamp: '',
    deleting: false,
    ownerReferences: [],
  };
  const object = { metadata, spec: { action, dryRun: false, rules: written } };
  const { model, statuses } = translate(buildResources([{ kind: 'AuthorizationPolicy', object }]), {
    clusterId: 'c',
  });
  const set = new PolicySet([...model.policies.values()]);
  const bad = statuses.some(({ conditions }) => conditions.some(isBadCondition));
  return { bad, allowed: connections.map((connection) => set.decide(connection).allowed) };
}

/** A copy in which every seventh value, from `offset` on, is one that no kind can use. */
function spoil(written: readonly AuthorizationRule[], offset: number): readonly AuthorizationRule[] {
  let seen = 0;
  const visit = (value: unknown, key: string): unknown => {
    if (key === 'key') return value;
    if (Array.isArray(value)) return value.map((item) => visit(item, ''));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, visit(inner, name)]));
    }
    return seen++ % 7 === offset % 7 ? '//*bad*//' : value;
  };
  return visit(written, '') as readonly AuthorizationRule[];
}

describe('translate() with values that cannot be used', () => {
  const input = fc.tuple(rules, fc.nat(), fc.array(facts, { minLength: 1, maxLength: 8 }));

  it('lets DENY refuse at least as much', () => {
    fc.assert(
      fc.property(input, ([written, target, connections]) => {
        const before = decide('DENY', written, connections);
        const after = decide('DENY', spoil(written, target), connections);
        expect(before.bad).toBe(false);
        for (const [i, allowed] of before.allowed.entries())
          if (!allowed) expect(after.allowed[i]).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('lets ALLOW admit at most as much', () => {
    fc.assert(
      fc.property(input, ([written, target, connections]) => {
        const before = decide('ALLOW', written, connections);
        const after = decide('ALLOW', spoil(written, target), connections);
        for (const [i, allowed] of after.allowed.entries()) if (allowed) expect(before.allowed[i]).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('says so in the status', () => {
    const bad = [{ from: [{ source: { ipBlocks: ['10.0.0.0/99'] } }] }];
    expect(decide('DENY', bad, []).bad).toBe(true);
    expect(decide('ALLOW', bad, []).bad).toBe(true);
  });
});
