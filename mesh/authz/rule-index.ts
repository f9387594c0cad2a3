// Finds the rules that match a connection without trying them all. Every rule is filed under keys of which a matching
// connection must have one (the exact principals of one clause, say); a rule without such keys is always tried. Of
// several possible clauses and kinds the one whose keys the fewest rules share is taken.

import type { Match, StringMatch } from '../model/authorization.ts';
import type { Cidr } from '../model/ip-address.ts';
import { type CompiledClause, type CompiledRule, ruleMatches } from './compiled-rule.ts';
import { type Connection, serviceAccountKey } from './connection.ts';
import { type HttpKey, httpKeyChoices, httpKeyText, HttpTables } from './http-tables.ts';
import { IpTable } from './ip-table.ts';
import { StringTable, type ValueMatch } from './string-table.ts';

type Key =
  | { readonly kind: 'principal' | 'namespace'; readonly value: ValueMatch }
  | { readonly kind: 'serviceAccount'; readonly value: string }
  | { readonly kind: 'port'; readonly value: number }
  | { readonly kind: 'source'; readonly value: Cidr }
  | { readonly kind: 'http'; readonly key: HttpKey }
  | { readonly kind: 'anonymous' };

export class RuleIndex<R extends CompiledRule> {
  readonly #byPrincipal = new StringTable<R[]>();
  readonly #byNamespace = new StringTable<R[]>();
  readonly #byServiceAccount = new Map<string, R[]>();
  readonly #byPort = new Map<number, R[]>();
  readonly #bySource = new IpTable<R[]>();
  #hasSource = false;
  readonly #byHttp = new HttpTables<R>();
  /** Tried only for peers without identity: STRICT is such a rule. */
  readonly #anonymous: R[] = [];
  readonly #always: R[] = [];
  /** Lists to try for the connection at hand; kept between calls so that a decision allocates nothing. */
  readonly #lists: R[][] = [];

  /** `rules` in the order of their ordinals. */
  constructor(rules: readonly R[]) {
    const popularity = countKeys(rules);
    for (const rule of rules) {
      const keys = bestKeys(rule, popularity);
      if (keys === undefined) this.#always.push(rule);
      else for (const key of new Map(keys.map((key) => [keyText(key), key])).values()) this.#file(key, rule);
    }
  }

  /** The matching rule with the lowest ordinal. */
  first(connection: Connection): R | undefined {
    let best: R | undefined;
    for (const rules of this.#listsFor(connection)) best = firstOf(rules, connection, best);
    return best;
  }

  /** All matching rules in order of their ordinals. */
  all(connection: Connection): readonly R[] {
    const lists = this.#listsFor(connection);
    const found = new Set(lists.flatMap((rules) => rules.filter((rule) => ruleMatches(rule, connection))));
    return [...found].sort((a, b) => a.ordinal - b.ordinal);
  }

  /** Every matching rule is in at least one of these; valid until the next call. */
  #listsFor(connection: Connection): readonly R[][] {
    const lists = this.#lists;
    lists.length = 0;
    if (this.#always.length > 0) lists.push(this.#always);
    const atPort = this.#byPort.get(connection.port);
    if (atPort !== undefined) lists.push(atPort);
    if (connection.identified) {
      this.#byPrincipal.collect(connection.principal, lists);
      const ofAccount = this.#byServiceAccount.get(connection.serviceAccount);
      if (ofAccount !== undefined) lists.push(ofAccount);
    } else if (this.#anonymous.length > 0) lists.push(this.#anonymous);
    this.#byNamespace.collect(connection.namespace, lists);
    if (this.#hasSource) this.#bySource.collect(connection.source(), lists);
    if (connection.http !== undefined) this.#byHttp.collect(connection.http, lists);
    return lists;
  }

  #file(key: Key, rule: R): void {
    switch (key.kind) {
      case 'principal':
        return push(this.#byPrincipal, key.value, rule);
      case 'namespace':
        return push(this.#byNamespace, key.value, rule);
      case 'serviceAccount':
        return push(this.#byServiceAccount, key.value, rule);
      case 'port':
        return push(this.#byPort, key.value, rule);
      case 'source':
        this.#hasSource = true;
        return push(this.#bySource, key.value, rule);
      case 'http':
        return this.#byHttp.add(key.key, rule);
      case 'anonymous':
        this.#anonymous.push(rule);
    }
  }
}

/** The rules are in order, so the first that matches ends the search, and one behind `best` can not win any more. */
function firstOf<R extends CompiledRule>(
  rules: readonly R[],
  connection: Connection,
  best: R | undefined,
): R | undefined {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i] as R;
    if (best !== undefined && rule.ordinal >= best.ordinal) return best;
    if (ruleMatches(rule, connection)) return rule;
  }
  return best;
}

interface Multimap<K, R> {
  get(key: K): R[] | undefined;
  set(key: K, rules: R[]): unknown;
}

function push<K, R>(map: Multimap<K, R>, key: K, rule: R): void {
  const rules = map.get(key);
  if (rules === undefined) map.set(key, [rule]);
  else rules.push(rule);
}

/** For each key the number of rules that could be filed under it. */
function countKeys(rules: readonly CompiledRule[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const rule of rules) {
    const texts = rule.clauses.flatMap((clause) =>
      clause.matches.flatMap((match) => keyChoices(match.source).flat()),
    );
    for (const text of new Set(texts.map(keyText))) counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}

/** Keys of the clause, at least one of which every matching connection has; undefined if there is no such clause. */
function bestKeys(rule: CompiledRule, popularity: ReadonlyMap<string, number>): readonly Key[] | undefined {
  let best: readonly Key[] | undefined;
  for (const clause of rule.clauses) {
    const keys = clauseKeys(clause, popularity);
    if (keys === undefined) continue;
    if (best === undefined || cost(keys, popularity) < cost(best, popularity)) best = keys;
  }
  return best;
}

function clauseKeys(
  clause: CompiledClause,
  popularity: ReadonlyMap<string, number>,
): readonly Key[] | undefined {
  const keys: Key[] = [];
  for (const match of clause.matches) {
    const choices = keyChoices(match.source);
    if (choices.length === 0) return undefined;
    const costs = choices.map((choice) => cost(choice, popularity));
    keys.push(...(choices[costs.indexOf(Math.min(...costs))] as readonly Key[]));
  }
  return keys;
}

/** The longest list that one of the keys leads to. */
function cost(keys: readonly Key[], popularity: ReadonlyMap<string, number>): number {
  return keys.reduce((most, key) => Math.max(most, popularity.get(keyText(key)) ?? 0), 0);
}

/** For each kind that allows it: the keys of which a connection that passes the match has at least one. */
function keyChoices(match: Match): readonly (readonly Key[])[] {
  const principals = valuesOf(match.principals).map((value) => ({ kind: 'principal', value }) as const);
  const accounts = match.serviceAccounts.map(({ namespace, serviceAccount }) => {
    return { kind: 'serviceAccount', value: serviceAccountKey(namespace, serviceAccount) } as const;
  });
  const namespaces = valuesOf(match.namespaces).map((value) => ({ kind: 'namespace', value }) as const);
  const sources = match.sourceIps.map((value) => ({ kind: 'source', value }) as const);
  const ports = match.destinationPorts.map((value) => ({ kind: 'port', value }) as const);
  const anonymous = match.notPrincipals.some(({ kind }) => kind === 'presence')
    ? [{ kind: 'anonymous' } as const]
    : [];
  const http = httpKeyChoices(match.http).map((keys) => keys.map((key) => ({ kind: 'http', key }) as const));
  return [principals, accounts, namespaces, sources, ports, anonymous, ...http].filter(
    (keys) => keys.length > 0,
  );
}

/** Nothing if a presence is among them, which no key stands for. */
function valuesOf(matches: readonly StringMatch[]): readonly ValueMatch[] {
  const values = matches.filter((match) => match.kind !== 'presence');
  return values.length === matches.length ? values : [];
}

function keyText(key: Key): string {
  switch (key.kind) {
    case 'anonymous':
      return key.kind;
    case 'source':
      return `source ${key.value.address}/${key.value.length}`;
    case 'principal':
    case 'namespace':
      return `${key.kind} ${key.value.kind} ${key.value.value}`;
    case 'serviceAccount':
    case 'port':
      return `${key.kind} ${key.value}`;
    case 'http':
      return httpKeyText(key.key);
  }
}
