import { describe, expect, it } from 'vitest';
import {
  type AuthorizationPolicy,
  emptyMatch,
  type Match,
  type StringMatch,
} from '../model/authorization.ts';
import { ip, makePolicy, makeWorkload } from '../model/fixture.ts';
import { parseCidr } from '../model/ip-address.ts';
import { emptyDelta } from '../model/model.ts';
import { Store } from '../state/store.ts';
import { Authorizer } from './authorizer.ts';
import type { ConnectionFacts } from './connection.ts';
import { PolicySet } from './policy-set.ts';

const client = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const facts: ConnectionFacts = {
  peer: client,
  sourceIp: ip('10.0.0.1'),
  destinationIp: ip('10.0.0.2'),
  destinationPort: 8080,
};
const anonymous: ConnectionFacts = { ...facts, peer: undefined };
const presence: StringMatch = { kind: 'presence' };

function exact(value: string): StringMatch {
  return { kind: 'exact', value };
}

function cidr(text: string) {
  const range = parseCidr(text);
  if (range === undefined) throw new Error(`Not a range: ${text}`);
  return range;
}

/** One rule, one clause, one match. */
function policy(
  name: string,
  match: Partial<Match>,
  fields: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy {
  const rules = [{ name: '', clauses: [{ matches: [{ ...emptyMatch, ...match }] }] }];
  return makePolicy('shop', name, { rules, ...fields });
}

const everyone = { rules: [{ name: 'everyone', clauses: [] }] };

describe('PolicySet.decide()', () => {
  it('allows everything without policies', () => {
    expect(new PolicySet([]).decide(facts)).toEqual({ allowed: true, reason: 'no-policy', audits: [] });
  });

  it('allows what an ALLOW policy matches and names policy and rule', () => {
    const set = new PolicySet([policy('a', { principals: [exact('cluster.local/ns/shop/sa/web')] })]);
    const allowed = { allowed: true, reason: 'allowed-by', policy: 'shop/a', rule: '0', audits: [] };
    expect(set.decide(facts)).toEqual(allowed);
  });

  it('denies when an ALLOW policy exists but none matches, and names the first one considered', () => {
    const denied = { allowed: false, reason: 'no-allow-matched', policy: 'shop/a', audits: [] };
    const set = new PolicySet([
      policy('a', { namespaces: [exact('bank')] }),
      policy('b', { destinationPorts: [1] }),
    ]);
    expect(set.decide(facts)).toEqual(denied);
    expect(new PolicySet([makePolicy('shop', 'a')]).decide(facts)).toEqual(denied);
  });

  it('lets DENY win over ALLOW, whatever the order', () => {
    const allow = policy('a', {}, everyone);
    const deny = policy('d', { destinationPorts: [8080] }, { action: 'deny' });
    for (const policies of [
      [allow, deny],
      [deny, allow],
    ]) {
      const set = new PolicySet(policies);
      expect(set.decide(facts)).toMatchObject({
        allowed: false,
        reason: 'denied-by',
        policy: 'shop/d',
        rule: '0',
      });
      expect(set.decide({ ...facts, destinationPort: 81 })).toMatchObject({
        reason: 'allowed-by',
        rule: 'everyone',
      });
    }
  });

  it('refuses callers without identity under STRICT and nobody else', () => {
    const strict = new PolicySet([policy('strict', { notPrincipals: [presence] }, { action: 'deny' })]);
    expect(strict.decide(anonymous)).toMatchObject({
      allowed: false,
      reason: 'denied-by',
      policy: 'shop/strict',
    });
    expect(strict.decide(facts)).toMatchObject({ allowed: true, reason: 'no-policy' });
  });

  it('gives the same frozen decision again', () => {
    const set = new PolicySet([policy('a', {}, everyone)]);
    expect(set.decide(facts)).toBe(set.decide({ ...facts, destinationPort: 1 }));
    expect(Object.isFrozen(set.decide(facts))).toBe(true);
  });
});

describe('empty parts of a policy', () => {
  const decide = (rules: AuthorizationPolicy['rules']) =>
    new PolicySet([makePolicy('shop', 'a', { rules })]).decide(facts);
  const one = { ...emptyMatch, destinationPorts: [8080] };
  const other = { ...emptyMatch, destinationPorts: [81] };

  it('no rules: never matches', () => expect(decide([]).allowed).toBe(false));
  it('a rule without clauses: matches all', () =>
    expect(decide([{ name: '', clauses: [] }]).allowed).toBe(true));
  it('a clause without matches: true', () => {
    expect(decide([{ name: '', clauses: [{ matches: [] }] }]).allowed).toBe(true);
    expect(decide([{ name: '', clauses: [{ matches: [] }, { matches: [other] }] }]).allowed).toBe(false);
  });
  it('a match with nothing set: never matches', () => {
    expect(decide([{ name: '', clauses: [{ matches: [emptyMatch] }] }]).allowed).toBe(false);
    expect(decide([{ name: '', clauses: [{ matches: [emptyMatch, one] }] }]).allowed).toBe(true);
  });
  it('clauses AND, matches OR, rules OR', () => {
    expect(decide([{ name: '', clauses: [{ matches: [one] }, { matches: [other] }] }]).allowed).toBe(false);
    expect(decide([{ name: '', clauses: [{ matches: [other, one] }] }]).allowed).toBe(true);
    expect(
      decide([other, one].map((match) => ({ name: '', clauses: [{ matches: [match] }] }))),
    ).toMatchObject({ rule: '1' });
  });
});

describe('kinds of a match', () => {
  const allows = (match: Partial<Match>, of: ConnectionFacts = facts) =>
    new PolicySet([policy('a', match)]).decide(of).allowed;

  it.each<[string, Partial<Match>, boolean, boolean]>([
    // match, with identity, without identity
    ['exact principal', { principals: [exact('cluster.local/ns/shop/sa/web')] }, true, false],
    ['principal with scheme', { principals: [exact('spiffe://cluster.local/ns/shop/sa/web')] }, false, false],
    ['principal prefix', { principals: [{ kind: 'prefix', value: 'cluster.local/ns/shop/' }] }, true, false],
    ['empty prefix', { principals: [{ kind: 'prefix', value: '' }] }, true, false],
    ['principal suffix', { principals: [{ kind: 'suffix', value: '/sa/web' }] }, true, false],
    ['other principals', { principals: [exact('a'), { kind: 'suffix', value: '/sa/other' }] }, false, false],
    ['any principal', { principals: [presence] }, true, false],
    ['not any principal', { notPrincipals: [presence] }, false, true],
    ['not this principal', { notPrincipals: [exact('cluster.local/ns/shop/sa/web')] }, false, true],
    ['not an empty prefix', { notPrincipals: [{ kind: 'prefix', value: '' }] }, false, true],
    ['namespace', { namespaces: [exact('shop')] }, true, false],
    ['any namespace', { namespaces: [presence] }, true, false],
    ['not any namespace', { notNamespaces: [presence] }, false, true],
    ['the empty namespace', { namespaces: [exact('')] }, false, true],
    ['not another namespace', { notNamespaces: [exact('bank')] }, true, true],
    ['service account', { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, true, false],
    [
      'same account elsewhere',
      { serviceAccounts: [{ namespace: 'bank', serviceAccount: 'web' }] },
      false,
      false,
    ],
    ['not the account', { notServiceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, false, true],
    ['source range', { sourceIps: [cidr('10.0.0.0/31')] }, true, true],
    ['other source range', { sourceIps: [cidr('10.0.0.2/31'), cidr('::/0')] }, false, false],
    ['not source range', { notSourceIps: [cidr('10.0.0.0/8')] }, false, false],
    ['destination range', { destinationIps: [cidr('10.0.0.2')] }, true, true],
    ['not destination range', { notDestinationIps: [cidr('10.0.0.1')] }, true, true],
    ['ports', { destinationPorts: [1, 8080] }, true, true],
    ['not ports', { notDestinationPorts: [1, 8080] }, false, false],
    ['kinds are ANDed', { destinationPorts: [8080], namespaces: [exact('bank')] }, false, false],
    ['a negative beats a positive', { destinationPorts: [8080], notDestinationPorts: [8080] }, false, false],
  ])('%s', (_title, match, identified, without) => {
    expect([allows(match), allows(match, anonymous)]).toEqual([identified, without]);
  });

  it('ignores the trust domain of service accounts', () => {
    const match = { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] };
    expect(allows(match, { ...facts, peer: { ...client, trustDomain: 'elsewhere' } })).toBe(true);
  });

  it('matches IPv6 ranges', () => {
    const six = { ...facts, sourceIp: ip('2001:db8::1') };
    expect(allows({ sourceIps: [cidr('2001:db8::/33')] }, six)).toBe(true);
    expect(allows({ sourceIps: [cidr('2001:db8:8000::/33'), cidr('0.0.0.0/0')] }, six)).toBe(false);
  });

  it('never matches a range with an impossible length', () => {
    expect(allows({ sourceIps: [{ address: ip('10.0.0.1'), length: 33 }] })).toBe(false);
  });
});

describe('AUDIT and dry-run policies', () => {
  it('are reported and never decide', () => {
    const audit = policy('audit', {}, { ...everyone, action: 'audit' });
    const dryDeny = policy('dry-deny', { destinationPorts: [8080] }, { action: 'deny', dryRun: true });
    const decision = new PolicySet([audit, dryDeny]).decide(facts);
    const audits = [
      { policy: 'shop/audit', rule: 'everyone' },
      { policy: 'shop/dry-deny', rule: '0', wouldDeny: true },
    ];
    expect(decision).toEqual({ allowed: true, reason: 'no-policy', audits });
  });

  it('are reported beside a denial, too', () => {
    const audit = policy('audit', {}, { ...everyone, action: 'audit' });
    const deny = policy('deny', {}, { ...everyone, action: 'deny' });
    expect(new PolicySet([audit, deny]).decide(facts)).toMatchObject({
      reason: 'denied-by',
      audits: [{ policy: 'shop/audit' }],
    });
  });

  it('a dry-run ALLOW tells whom it would let in and whom it would shut out', () => {
    const set = new PolicySet([policy('dry', { destinationPorts: [8080] }, { dryRun: true })]);
    const hit = { policy: 'shop/dry', rule: '0', wouldDeny: false };
    const miss = { policy: 'shop/dry', rule: '', wouldDeny: true };
    expect(set.decide(facts)).toEqual({ allowed: true, reason: 'no-policy', audits: [hit] });
    expect(set.decide({ ...facts, destinationPort: 1 })).toEqual({
      allowed: true,
      reason: 'no-policy',
      audits: [miss],
    });
  });

  it('a dry-run ALLOW without rules would shut out everybody', () => {
    const set = new PolicySet([makePolicy('shop', 'dry', { dryRun: true })]);
    expect(set.decide(facts).audits).toEqual([{ policy: 'shop/dry', rule: '', wouldDeny: true }]);
  });
});

describe('Authorizer', () => {
  it('decides by the policies of the snapshot it is given', () => {
    const workload = makeWorkload('a');
    const store = new Store();
    const authorizer = new Authorizer();
    const before = store.snapshot();
    store.apply({ ...emptyDelta, policies: [policy('d', {}, { ...everyone, action: 'deny' })] });
    expect(authorizer.authorize(store.snapshot(), workload, facts).allowed).toBe(false);
    expect(authorizer.authorize(before, workload, facts).allowed).toBe(true);
    expect(authorizer.authorize(store.snapshot(), makeWorkload('b', { namespace: 'x' }), facts).allowed).toBe(
      true,
    );
  });
});
