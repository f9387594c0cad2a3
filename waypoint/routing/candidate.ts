// One match of one rule, ready to be tried: its rank among all matches of the port, and the conditions beside the path.
// The path itself (or the gRPC method) is the tables' matter. Nothing here allocates while a request is matched.

import type { Header } from '../../mesh/h2/header.ts';
import type { HttpMatch, HttpRule, NamedMatch } from '../../mesh/model/routing.ts';
import { type Pattern, type PatternCompiler, toOctets } from './pattern.ts';
import { queryValue } from './query.ts';
import type { WeightedChoice } from './weighted-choice.ts';

/** What matching looks at; one object a router, filled anew for each request. */
export interface RouteFacts {
  method: string;
  authority: string;
  headers: readonly Header[];
  /** Without the query, normalised. */
  path: string;
  /** Without `?`. */
  query: string;
}

/** The rule that takes a request. */
export interface RouteMatch {
  readonly rule: HttpRule;
  /** Of the match that won, without a trailing slash (`/` itself stays); undefined if its path is no prefix. */
  readonly matchedPrefix: string | undefined;
  /** Path attribute of a session's cookie: the route's path, of a regular expression what is literal (GEP-1619). */
  readonly cookiePath: string;
  /** Index into `rule.backends`; shared by all matches of the rule, so that the shares are the rule's. */
  readonly choice: WeightedChoice;
}

export interface Condition {
  readonly name: string;
  /** Undefined for a regular expression. */
  readonly exact: string | undefined;
  readonly pattern: Pattern | undefined;
}

export interface Candidate {
  readonly match: RouteMatch;
  /** Larger numbers first, compared one after the other. */
  readonly rank: readonly number[];
  /** Position among all candidates, the most specific is 0; set when all are known. */
  order: number;
  readonly method: string | undefined;
  readonly headers: readonly Condition[];
  readonly query: readonly Condition[];
}

/** Whether everything beside the path holds. */
export function satisfies(candidate: Candidate, facts: RouteFacts): boolean {
  if (candidate.method !== undefined && candidate.method !== facts.method) return false;
  for (const condition of candidate.headers) {
    if (!holds(condition, fieldValue(facts, condition.name))) return false;
  }
  for (const condition of candidate.query) {
    if (!holds(condition, queryValue(facts.query, condition.name))) return false;
  }
  return true;
}

function holds(condition: Condition, value: string | undefined): boolean {
  if (value === undefined) return false;
  return condition.exact === undefined
    ? (condition.pattern as Pattern).matches(value)
    : condition.exact === value;
}

/**
 * The combined value of a field: several lines are one list, joined by a comma (RFC 9110 section 5.2), cookies by a
 * semicolon (RFC 9113 section 8.2.3). `host` is the authority as the client wrote it (GEP-1294 sends users there).
 */
export function fieldValue(
  facts: Pick<RouteFacts, 'headers' | 'authority'>,
  name: string,
): string | undefined {
  if (name === 'host') return facts.authority === '' ? undefined : facts.authority;
  let combined: string | undefined;
  for (const header of facts.headers) {
    if (header[0] !== name) continue;
    combined =
      combined === undefined ? header[1] : `${combined}${name === 'cookie' ? '; ' : ','}${header[1]}`;
  }
  return combined;
}

/** Of equal names only the first counts, for matching and for the rank (Gateway API). Throws what `compileValue` does. */
export function compileConditions(
  matches: HttpMatch['headers'],
  options: { readonly patterns: PatternCompiler; readonly caseless: boolean },
): Condition[] {
  const byName = new Map<string, Condition>();
  for (const match of matches) {
    const name = options.caseless ? match.name.toLowerCase() : toOctets(match.name);
    if (!byName.has(name)) byName.set(name, compileCondition(name, match, options.patterns));
  }
  return [...byName.values()];
}

function compileCondition(name: string, match: NamedMatch, patterns: PatternCompiler): Condition {
  if (match.kind === 'exact') return { name, exact: toOctets(match.value), pattern: undefined };
  return { name, exact: undefined, pattern: requirePattern(match.value, patterns) };
}

/** Throws the compiler's Error. */
export function requirePattern(source: string, patterns: PatternCompiler): Pattern {
  const pattern = patterns.compile(source);
  if (pattern instanceof Error) throw pattern;
  return pattern;
}

/** Sorts by rank, ties by the order they came in, and numbers them. */
export function orderCandidates<C extends Candidate>(candidates: C[]): C[] {
  candidates.sort((left, right) => {
    for (const [at, value] of left.rank.entries()) {
      const difference = (right.rank[at] ?? 0) - value;
      if (difference !== 0) return difference;
    }
    return 0;
  });
  for (const [order, candidate] of candidates.entries()) candidate.order = order;
  return candidates;
}
