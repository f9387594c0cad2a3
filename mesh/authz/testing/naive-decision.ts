// A naive reading of WIRE 5 and of L7 conditions, for differential tests of the engine.

import type {
  AuthorizationPolicy,
  HttpMatchConditions,
  Match,
  PathMatch,
  Rule,
  StringMatch,
} from '../../model/authorization.ts';
import { type Cidr, cidrContains } from '../../model/ip-address.ts';
import { formatPrincipal } from '../../model/spiffe-id.ts';
import type { ConnectionFacts } from '../connection.ts';
import type { Claims, HttpFacts } from '../http-facts.ts';
import type { Audit, Decision } from '../policy-set.ts';

type Action = AuthorizationPolicy['action'];

/** The decision as the specification words it: one policy, rule and clause after the other. */
export function naiveDecision(list: readonly AuthorizationPolicy[], facts: ConnectionFacts): Decision {
  const hit = (policy: AuthorizationPolicy) =>
    policy.rules.findIndex((one) => ruleHolds(one, policy.action, facts));
  const ruleName = (policy: AuthorizationPolicy, i: number) => (policy.rules[i] as Rule).name || String(i);
  const enforced = list.filter((policy) => !policy.dryRun);
  const allows = enforced.filter((policy) => policy.action === 'allow');
  const deny = enforced.find((policy) => policy.action === 'deny' && hit(policy) >= 0);
  const allow = allows.find((policy) => hit(policy) >= 0);
  const decider = deny ?? allow;

  const audits: Audit[] = [];
  for (const policy of list.filter((one) => one.dryRun || one.action === 'audit')) {
    for (const [i, one] of policy.rules.entries()) {
      if (!ruleHolds(one, policy.action, facts)) continue;
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

function ruleHolds(one: Rule, action: Action, facts: ConnectionFacts): boolean {
  return one.clauses.every(
    ({ matches }) =>
      matches.length === 0 ||
      matches.some((m) => matchHolds(m, facts) && httpHolds(m.http, action, facts.http)),
  );
}

function isUnset(lists: object): boolean {
  return Object.values(lists).every((list: unknown) => Array.isArray(list) && list.length === 0);
}

function matchHolds(
  { http, ...m }: Match,
  { peer, sourceIp, destinationIp, destinationPort }: ConnectionFacts,
): boolean {
  if (isUnset(m) && (http === undefined || isUnset(http))) return false;
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

function httpHolds(
  http: HttpMatchConditions | undefined,
  action: Action,
  facts: HttpFacts | undefined,
): boolean {
  if (http === undefined || isUnset(http)) return true;
  if (facts === undefined) return action !== 'allow';
  const text = (value: string) => (s: PathMatch) => pathHolds(s, value);
  return (
    kindHolds(http.hosts, http.notHosts, text(facts.host)) &&
    kindHolds(http.methods, http.notMethods, text(facts.method)) &&
    kindHolds(http.paths, http.notPaths, text(facts.path)) &&
    kindHolds(http.requestPrincipals, http.notRequestPrincipals, text(facts.requestPrincipal)) &&
    http.headers.every(({ name, values, notValues }) => {
      const lines = facts.headers(name);
      return action === 'allow'
        ? (values.length === 0 || allLines(values, lines)) && !anyLine(notValues, lines)
        : (values.length === 0 || anyLine(values, lines)) && !allLines(notValues, lines);
    }) &&
    http.claims.every(({ path, values, notValues }) =>
      kindHolds(values, notValues, (s) =>
        claimValues(facts.claims, path).some((value) => claimHolds(s, value)),
      ),
    )
  );
}

function allLines(values: readonly StringMatch[], lines: readonly string[]): boolean {
  return lines.length > 0 && lines.every((line) => values.some((s) => stringHolds(s, line)));
}

/** A field without a value is there, too. */
function anyLine(values: readonly StringMatch[], lines: readonly string[]): boolean {
  return lines.some((line) => values.some((s) => s.kind === 'presence' || stringHolds(s, line)));
}

function claimHolds(s: StringMatch, value: string): boolean {
  return s.kind === 'presence' || stringHolds(s, value);
}

function claimValues(claims: Claims | undefined, path: readonly string[]): string[] {
  const found = path.reduce<unknown>((value, name) => {
    const inside =
      typeof value === 'object' && !Array.isArray(value) ? (value as Claims | undefined) : undefined;
    return inside?.[name];
  }, claims);
  const spaced = typeof found === 'string' && path.join() === 'scope';
  const list = spaced ? found.split(' ') : [found].flat();
  return list.filter((value) => ['string', 'boolean'].includes(typeof value)).map(String);
}

function pathHolds(s: PathMatch, path: string): boolean {
  if (s.kind !== 'template') return stringHolds(s, path);
  const pattern = s.value.split(/({\*\*?})/).map((part) => ({ '{*}': '[^/]+', '{**}': '.*' })[part] ?? part);
  return new RegExp(`^${pattern.join('')}$`).test(path);
}
