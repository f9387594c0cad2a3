// One rule of a policy in the form that is evaluated: sets instead of lists, and everything that can never match left
// out (WIRE 5, empties). `undefined` instead of a matcher means "nothing demanded".

import type { AuthorizationPolicy, Match, Rule } from '../model/authorization.ts';
import type { Cidr } from '../model/ip-address.ts';
import { type Connection, serviceAccountKey } from './connection.ts';
import { HttpMatcher } from './http-matcher.ts';
import { IpTable } from './ip-table.ts';
import { isBlankMatch, matchNeedsHttp } from './l4-projection.ts';
import { type StringMatcher, stringMatcher } from './string-matcher.ts';

/** A rule that can match; rules that never can have none. */
export interface CompiledRule {
  /** Position among all rules of the candidate list: of several that match, the first is named. */
  readonly ordinal: number;
  readonly policy: AuthorizationPolicy;
  /** The rule's name, or its index in the policy. */
  readonly name: string;
  /** All must match; none: the rule matches every connection. */
  readonly clauses: readonly CompiledClause[];
}

export interface CompiledClause {
  /** Any must match; never empty. */
  readonly matches: readonly CompiledMatch[];
}

/** undefined if no connection can ever match the rule. */
export function compileRule(rule: Rule, context: Omit<CompiledRule, 'clauses'>): CompiledRule | undefined {
  const clauses: CompiledClause[] = [];
  for (const { matches } of rule.clauses) {
    if (matches.length === 0) continue;
    const compiled = matches
      .filter((match) => !isBlankMatch(match))
      .map((match) => new CompiledMatch(match, context.policy.action));
    if (compiled.length === 0) return undefined;
    clauses.push({ matches: compiled });
  }
  return { ...context, clauses };
}

export function ruleMatches(rule: CompiledRule, connection: Connection): boolean {
  for (const clause of rule.clauses) {
    if (!clauseMatches(clause, connection)) return false;
  }
  return true;
}

function clauseMatches(clause: CompiledClause, connection: Connection): boolean {
  for (const match of clause.matches) {
    if (match.accepts(connection)) return true;
  }
  return false;
}

export class CompiledMatch {
  /** What it was made from; the index of rules picks its keys here. */
  readonly source: Match;
  readonly #namespaces: StringMatcher | undefined;
  readonly #notNamespaces: StringMatcher | undefined;
  readonly #principals: StringMatcher | undefined;
  readonly #notPrincipals: StringMatcher | undefined;
  readonly #sourceIps: IpTable<true> | undefined;
  readonly #notSourceIps: IpTable<true> | undefined;
  readonly #destinationIps: IpTable<true> | undefined;
  readonly #notDestinationIps: IpTable<true> | undefined;
  readonly #ports: ReadonlySet<number> | undefined;
  readonly #notPorts: ReadonlySet<number> | undefined;
  readonly #serviceAccounts: ReadonlySet<string> | undefined;
  readonly #notServiceAccounts: ReadonlySet<string> | undefined;
  readonly #http: HttpMatcher | undefined;

  constructor(match: Match, action: AuthorizationPolicy['action']) {
    this.source = match;
    this.#namespaces = stringMatcher(match.namespaces);
    this.#notNamespaces = stringMatcher(match.notNamespaces);
    this.#principals = stringMatcher(match.principals);
    this.#notPrincipals = stringMatcher(match.notPrincipals);
    this.#sourceIps = ipTable(match.sourceIps);
    this.#notSourceIps = ipTable(match.notSourceIps);
    this.#destinationIps = ipTable(match.destinationIps);
    this.#notDestinationIps = ipTable(match.notDestinationIps);
    this.#ports = setOf(match.destinationPorts);
    this.#notPorts = setOf(match.notDestinationPorts);
    const accounts = (list: Match['serviceAccounts']) =>
      setOf(list.map(({ namespace, serviceAccount }) => serviceAccountKey(namespace, serviceAccount)));
    this.#serviceAccounts = accounts(match.serviceAccounts);
    this.#notServiceAccounts = accounts(match.notServiceAccounts);
    this.#http =
      match.http !== undefined && matchNeedsHttp(match) ? new HttpMatcher(match.http, action) : undefined;
  }

  accepts(connection: Connection): boolean {
    return (
      this.#acceptsPeer(connection) &&
      this.#acceptsPort(connection.port) &&
      this.#acceptsIps(connection) &&
      (this.#http === undefined || this.#acceptsHttp(this.#http, connection))
    );
  }

  /** Unknown facts never get here: then the projections of the rules are asked (l4-projection.ts). */
  #acceptsHttp(http: HttpMatcher, connection: Connection): boolean {
    return connection.http !== undefined && http.accepts(connection.http);
  }

  /** A peer without identity has no principal and no service account, but the namespace `''` (WIRE 5). */
  #acceptsPeer({ identified, principal, namespace, serviceAccount }: Connection): boolean {
    if (!identified && (this.#principals !== undefined || this.#serviceAccounts !== undefined)) return false;
    if (this.#principals?.accepts(principal) === false) return false;
    if (this.#serviceAccounts?.has(serviceAccount) === false) return false;
    if (this.#namespaces?.accepts(namespace) === false) return false;
    if (this.#notNamespaces?.accepts(namespace) === true) return false;
    if (!identified) return true;
    if (this.#notPrincipals?.accepts(principal) === true) return false;
    return this.#notServiceAccounts?.has(serviceAccount) !== true;
  }

  #acceptsPort(port: number): boolean {
    return this.#ports?.has(port) !== false && this.#notPorts?.has(port) !== true;
  }

  #acceptsIps(connection: Connection): boolean {
    if (this.#sourceIps !== undefined && !this.#sourceIps.covers(connection.source())) return false;
    if (this.#notSourceIps?.covers(connection.source()) === true) return false;
    if (this.#destinationIps !== undefined && !this.#destinationIps.covers(connection.destination()))
      return false;
    return this.#notDestinationIps?.covers(connection.destination()) !== true;
  }
}

/** A list of nothing but impossible ranges still demands one of them, so it gives a table that covers nothing. */
function ipTable(cidrs: readonly Cidr[]): IpTable<true> | undefined {
  if (cidrs.length === 0) return undefined;
  const table = new IpTable<true>();
  for (const cidr of cidrs) table.set(cidr, true);
  return table;
}

function setOf<T>(values: readonly T[]): ReadonlySet<T> | undefined {
  return values.length === 0 ? undefined : new Set(values);
}
