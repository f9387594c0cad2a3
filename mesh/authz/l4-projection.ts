// What of an AuthorizationPolicy a node tunnel is told: it knows connections and no requests. Where a condition about a
// request is unknown an ALLOW rule does not admit and a DENY or AUDIT rule hits, so the projection never admits more
// than the whole policy. Policies attached by targetRefs are enforced at waypoints alone and have no projection.

import type { AuthorizationPolicy, Match, Rule } from '../model/authorization.ts';

/** Undefined: nothing of the policy concerns a node tunnel. */
export function toL4(policy: AuthorizationPolicy): AuthorizationPolicy | undefined {
  if (policy.scope === 'target') return undefined;
  if (!policy.rules.some(hasHttp)) return policy;
  const rules = policy.action === 'allow' ? policy.rules.flatMap(narrowed) : policy.rules.map(widened);
  return { ...policy, rules };
}

function hasHttp({ clauses }: Rule): boolean {
  return clauses.some(({ matches }) => matches.some(({ http }) => http !== undefined));
}

/** Matches that need a request are gone, and the rule with a clause of which none is left. */
function narrowed({ name, clauses }: Rule): readonly Rule[] {
  const left = clauses.map(({ matches }) => ({ matches: matches.filter(({ http }) => http === undefined) }));
  const impossible = left.some(
    ({ matches }, i) => matches.length < (clauses[i]?.matches.length ?? 0) && matches.length === 0,
  );
  return impossible ? [] : [{ name, clauses: left }];
}

/** Conditions about requests are taken for true; a clause that is true for everybody says nothing and goes. */
function widened({ name, clauses }: Rule): Rule {
  const left = clauses
    .map(({ matches }) => ({ matches: matches.map(withoutHttp) }))
    .filter((clause, i) => {
      const before = clauses[i]?.matches ?? [];
      return !clause.matches.some((match, j) => match !== before[j] && isUnrestricted(match));
    });
  return { name, clauses: left };
}

function withoutHttp(match: Match): Match {
  if (match.http === undefined) return match;
  const { http: _http, ...rest } = match;
  return rest;
}

function isUnrestricted(match: Match): boolean {
  return Object.values(match).every((values: readonly unknown[]) => values.length === 0);
}
