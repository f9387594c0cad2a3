// The indexed engine against a naive reading of WIRE 5, on random policies and connections from a small universe, so
// that hits, misses and shared keys are all frequent.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuthorizationPolicy, Match, Rule, StringMatch } from '../model/authorization.ts';
import { ip, makePolicy } from '../model/fixture.ts';
import { type Cidr, cidrContains, ipBits, parseCidr } from '../model/ip-address.ts';
import { formatPrincipal } from '../model/spiffe-id.ts';
import type { ConnectionFacts } from './connection.ts';
import { type Audit, type Decision, PolicySet } from './policy-set.ts';

const names = ['a', 'b', ''];
const addresses = ['10.0.0.1', '10.0.0.2', '10.128.0.1', '2001:db8::1', '2001:db8:8000::1'].map(ip);
const identities = ['td', 'other'].flatMap((trustDomain) =>
  ['a', 'b'].flatMap((namespace) =>
    ['x', 'y'].map((serviceAccount) => ({ trustDomain, namespace, serviceAccount })),
  ),
);
const principals = identities.map(formatPrincipal);

function few<T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(item, { maxLength: 3 }) },
  );
}

function strings(values: readonly string[]): fc.Arbitrary<StringMatch[]> {
  const value = fc.constantFrom(...values);
  const cut = fc.tuple(value, fc.nat(20));
  return few(
    fc.oneof(
      { weight: 4, arbitrary: value.map((text) => ({ kind: 'exact' as const, value: text })) },
      cut.map(([text, n]) => ({ kind: 'prefix' as const, value: text.slice(0, n) })),
      cut.map(([text, n]) => ({ kind: 'suffix' as const, value: text.slice(-n) })),
      fc.constant({ kind: 'presence' as const }),
    ),
  );
}

const cidr = fc.oneof(
  fc.constantFrom(
    ...['10.0.0.0/30', '10.0.0.1', '10.128.0.0/9', '0.0.0.0/0', '::/0', '2001:db8::/33', '2001:db8::1'].map(
      parseCidr,
    ),
  ),
  fc.constantFrom(...addresses).map((address) => ({ address, length: ipBits(address) - 1 })),
) as fc.Arbitrary<Cidr>;
const account = fc.record({
  namespace: fc.constantFrom(...names),
  serviceAccount: fc.constantFrom('x', 'y'),
});
const port = fc.constantFrom(80, 443, 8080);

const match: fc.Arbitrary<Match> = fc.record({
  namespaces: strings(names),
  notNamespaces: strings(names),
  principals: strings(principals),
  notPrincipals: strings(principals),
  sourceIps: few(cidr),
  notSourceIps: few(cidr),
  destinationIps: few(cidr),
  notDestinationIps: few(cidr),
  destinationPorts: few(port),
  notDestinationPorts: few(port),
  serviceAccounts: few(account),
  notServiceAccounts: few(account),
});
const rule: fc.Arbitrary<Rule> = fc.record({
  name: fc.constantFrom('', 'r'),
  clauses: fc.array(fc.record({ matches: fc.array(match, { maxLength: 3 }) }), { maxLength: 3 }),
});
const policies: fc.Arbitrary<AuthorizationPolicy[]> = fc
  .array(
    fc.record({
      action: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const, 'audit' as const),
      dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
      rules: fc.array(rule, { maxLength: 3 }),
    }),
    { maxLength: 8 },
  )
  .map((list) => list.map((fields, i) => makePolicy('shop', `p${i}`, fields)));
const connection: fc.Arbitrary<ConnectionFacts> = fc.record({
  peer: fc.option(fc.constantFrom(...identities), { nil: undefined }),
  sourceIp: fc.constantFrom(...addresses),
  destinationIp: fc.constantFrom(...addresses),
  destinationPort: port,
});

describe('PolicySet', () => {
  it('decides as a naive reading of the specification does', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(policies, fc.array(connection, { minLength: 1, maxLength: 10 }), (list, connections) => {
        const set = new PolicySet(list);
        for (const facts of connections) {
          const expected = reference(list, facts);
          expect(set.decide(facts)).toEqual(expected);
          seen.add(expected.reason);
          if (expected.audits.length > 0) seen.add('audits');
        }
      }),
      { numRuns: 3000 },
    );
    expect([...seen].sort()).toEqual(['allowed-by', 'audits', 'denied-by', 'no-allow-matched', 'no-policy']);
  });
});

function reference(list: readonly AuthorizationPolicy[], facts: ConnectionFacts): Decision {
  const hit = (policy: AuthorizationPolicy) => policy.rules.findIndex((one) => ruleHolds(one, facts));
  const ruleName = (policy: AuthorizationPolicy, i: number) => (policy.rules[i] as Rule).name || String(i);
  const enforced = list.filter((policy) => !policy.dryRun);
  const allows = enforced.filter((policy) => policy.action === 'allow');
  const deny = enforced.find((policy) => policy.action === 'deny' && hit(policy) >= 0);
  const allow = allows.find((policy) => hit(policy) >= 0);
  const decider = deny ?? allow;

  const audits: Audit[] = [];
  for (const policy of list.filter((one) => one.dryRun || one.action === 'audit')) {
    for (const [i, one] of policy.rules.entries()) {
      if (!ruleHolds(one, facts)) continue;
      const audit = { policy: policy.key, rule: ruleName(policy, i) };
      audits.push(policy.action === 'audit' ? audit : { ...audit, wouldDeny: policy.action === 'deny' });
    }
  }
  const dryAllows = list.filter((policy) => policy.dryRun && policy.action === 'allow');
  const byDefault = allows.length === 0 && deny === undefined;
  if (byDefault && dryAllows[0] !== undefined && dryAllows.every((policy) => hit(policy) < 0)) {
    audits.push({ policy: dryAllows[0].key, rule: '', wouldDeny: true });
  }

  if (decider !== undefined) {
    const rule = ruleName(decider, hit(decider));
    const reason = decider === deny ? 'denied-by' : 'allowed-by';
    return { allowed: decider !== deny, reason, policy: decider.key, rule, audits };
  }
  if (allows[0] === undefined) return { allowed: true, reason: 'no-policy', audits };
  return { allowed: false, reason: 'no-allow-matched', policy: allows[0].key, audits };
}

function ruleHolds(one: Rule, facts: ConnectionFacts): boolean {
  return one.clauses.every(
    ({ matches }) => matches.length === 0 || matches.some((m) => matchHolds(m, facts)),
  );
}

function matchHolds(m: Match, { peer, sourceIp, destinationIp, destinationPort }: ConnectionFacts): boolean {
  if (Object.values(m).every((list) => list.length === 0)) return false;
  const principal = (s: StringMatch) => peer !== undefined && stringHolds(s, formatPrincipal(peer));
  const namespace = (s: StringMatch) => stringHolds(s, peer?.namespace ?? '');
  const source = (range: Cidr) => cidrContains(range, sourceIp);
  const destination = (range: Cidr) => cidrContains(range, destinationIp);
  const same = (one: { namespace: string; serviceAccount: string }) =>
    one.namespace === peer?.namespace && one.serviceAccount === peer?.serviceAccount;
  return (
    kindHolds(m.principals, m.notPrincipals, principal) &&
    kindHolds(m.namespaces, m.notNamespaces, namespace) &&
    kindHolds(m.sourceIps, m.notSourceIps, source) &&
    kindHolds(m.destinationIps, m.notDestinationIps, destination) &&
    kindHolds(m.destinationPorts, m.notDestinationPorts, (p) => p === destinationPort) &&
    kindHolds(m.serviceAccounts, m.notServiceAccounts, same)
  );
}

function kindHolds<T>(positives: readonly T[], negatives: readonly T[], hit: (value: T) => boolean): boolean {
  return (positives.length === 0 || positives.some(hit)) && !negatives.some(hit);
}

function stringHolds(s: StringMatch, text: string): boolean {
  if (s.kind === 'presence') return text !== '';
  if (s.kind === 'exact') return text === s.value;
  return s.kind === 'prefix' ? text.startsWith(s.value) : text.endsWith(s.value);
}
