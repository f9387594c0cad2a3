// Authorization rules from the few fields a test cares about.

import { emptyMatch, type Match, type Rule } from '../../mesh/model/authorization.ts';

/** A rule of one clause with one match. */
export function rule(name: string, match: Partial<Match>): Rule {
  return { name, clauses: [{ matches: [{ ...emptyMatch, ...match }] }] };
}

/** Matches the pods of namespace `shop` with this service account. */
export function fromAccount(name: string, serviceAccount: string): Rule {
  return rule(name, { serviceAccounts: [{ namespace: 'shop', serviceAccount }] });
}

/** Matches callers without an identity, which is what STRICT denies (WIRE 5). */
export const fromNobody: Rule = rule('strict', { notPrincipals: [{ kind: 'presence' }] });
