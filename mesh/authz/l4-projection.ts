// What is left of a policy where nothing is known of a request: at node tunnels and for plain TCP. An L7 condition is
// taken for met where that refuses or reports (DENY, AUDIT), for not met where it would admit (ALLOW).
//
// Let F be a set of policies, P the projection of each, c a connection. Then P decides about c exactly as F does about c
// with unknown L7 facts; and for every request r over c: if P admits c, F admits r; if a DENY policy of F refuses r, a
// DENY policy of P refuses c. The reverse does not hold: P refuses more. Dry-run policies never decide in either.

import type { AuthorizationPolicy, Match, Rule } from '../model/authorization.ts';

type Action = AuthorizationPolicy['action'];
type Clause = Rule['clauses'][number];

/**
 * For node tunnels; undefined for a policy that only waypoints enforce. An ALLOW policy of which no rule is left stays,
 * without rules: it still makes refusal the default. The same object if the policy has no L7 conditions and no targets.
 */
export function toL4(policy: AuthorizationPolicy): AuthorizationPolicy | undefined {
  if (policy.scope === 'target') return undefined;
  const { targets, ...rest } = policy;
  if (!policyNeedsHttp(policy)) return targets === undefined ? policy : rest;
  const rules = policy.rules
    // An unnamed rule is known by its place, which must not shift when a rule before it is dropped.
    .map((rule, i) => projectRule({ ...rule, name: rule.name || String(i) }, policy.action))
    .filter((rule) => rule !== undefined);
  return { ...rest, rules };
}

/** The rule as it holds for unknown L7 facts; undefined if it never does then. The same object without L7 conditions. */
export function projectRule(rule: Rule, action: Action): Rule | undefined {
  if (!ruleNeedsHttp(rule)) return rule;
  const clauses: Clause[] = [];
  for (const clause of rule.clauses) {
    const matches = action === 'allow' ? withoutHttpMatches(clause) : withoutHttpConditions(clause);
    if (matches === undefined) return undefined;
    // A clause that holds for everybody says nothing.
    if (matches.length > 0) clauses.push({ matches });
  }
  return { ...rule, clauses };
}

/** Undefined: the clause never holds. */
function withoutHttpMatches({ matches }: Clause): readonly Match[] | undefined {
  const kept = matches.filter((match) => !matchNeedsHttp(match));
  return kept.length === 0 && matches.length > 0 ? undefined : kept;
}

/** Empty: the clause always holds, because one of its matches demanded nothing but L7 facts. */
function withoutHttpConditions({ matches }: Clause): readonly Match[] {
  const stripped: Match[] = [];
  for (const match of matches) {
    if (!matchNeedsHttp(match)) {
      stripped.push(match);
      continue;
    }
    const { http: _http, ...l4 } = match;
    if (isBlankMatch(l4)) return [];
    stripped.push(l4);
  }
  return stripped;
}

export function policyNeedsHttp({ rules }: Pick<AuthorizationPolicy, 'rules'>): boolean {
  return rules.some(ruleNeedsHttp);
}

export function ruleNeedsHttp({ clauses }: Rule): boolean {
  return clauses.some(({ matches }) => matches.some(matchNeedsHttp));
}

/** Whether any L7 condition is set; an object of empty lists sets none. */
export function matchNeedsHttp({ http }: Match): boolean {
  return http !== undefined && Object.values(http).some((list) => list.length > 0);
}

/** Nothing is set, L4 or L7: such a match never matches (WIRE 5, empties). */
export function isBlankMatch(match: Match): boolean {
  const { http: _http, ...lists } = match;
  return !matchNeedsHttp(match) && Object.values(lists).every((list) => list.length === 0);
}
