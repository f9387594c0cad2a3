// Rules by an L7 fact that a matching request must have: a table for each field that rules use (host, path, method,
// principal of the token, one header, one claim). Part of the index of rules.

import type { HttpMatchConditions, PathMatch } from '../model/authorization.ts';
import { claimTexts } from './claim-texts.ts';
import type { HttpFacts } from './http-facts.ts';
import { literalPrefix } from './path-template.ts';
import { StringTable, type ValueMatch } from './string-table.ts';

type Field =
  | { readonly kind: 'host' | 'path' | 'method' | 'requestPrincipal' }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'claim'; readonly path: readonly string[] };

/** A matching request has this value in this field. */
export interface HttpKey {
  readonly field: Field;
  readonly value: ValueMatch;
}

interface Table<R> {
  readonly field: Field;
  readonly rules: StringTable<R[]>;
}

export class HttpTables<R> {
  readonly #byField = new Map<string, Table<R>>();
  /** The same tables: walking a list allocates nothing. */
  readonly #tables: Table<R>[] = [];

  add({ field, value }: HttpKey, rule: R): void {
    const id = fieldText(field);
    let table = this.#byField.get(id);
    if (table === undefined) {
      table = { field, rules: new StringTable() };
      this.#byField.set(id, table);
      this.#tables.push(table);
    }
    const rules = table.rules.get(value);
    if (rules === undefined) table.rules.set(value, [rule]);
    else rules.push(rule);
  }

  /** Adds to `lists` every list that a rule which matches the request may be in. */
  collect(facts: HttpFacts, lists: R[][]): void {
    for (let i = 0; i < this.#tables.length; i++) {
      const { field, rules } = this.#tables[i] as Table<R>;
      if (field.kind === 'header' || field.kind === 'claim') {
        for (const text of textsOf(field, facts)) rules.collect(text, lists);
      } else rules.collect(facts[field.kind], lists);
    }
  }
}

function textsOf(field: Extract<Field, { kind: 'header' | 'claim' }>, facts: HttpFacts): readonly string[] {
  return field.kind === 'header' ? facts.headers(field.name) : claimTexts(facts.claims, field.path);
}

export function httpKeyText({ field, value }: HttpKey): string {
  return `${fieldText(field)} ${value.kind} ${value.value}`;
}

function fieldText(field: Field): string {
  if (field.kind === 'header') return `header ${field.name}`;
  return field.kind === 'claim' ? `claim ${JSON.stringify(field.path)}` : field.kind;
}

/** For each field that allows it: the keys of which a request that passes has at least one. */
export function httpKeyChoices(conditions: HttpMatchConditions | undefined): readonly (readonly HttpKey[])[] {
  if (conditions === undefined) return [];
  const { hosts, methods, paths, requestPrincipals, headers, claims } = conditions;
  return [
    keysOf({ kind: 'path' }, paths),
    keysOf({ kind: 'host' }, hosts),
    keysOf({ kind: 'requestPrincipal' }, requestPrincipals),
    keysOf({ kind: 'method' }, methods),
    ...headers.map(({ name, values }) => keysOf({ kind: 'header', name }, values)),
    ...claims.map(({ path, values }) => keysOf({ kind: 'claim', path }, values)),
  ].filter((keys) => keys.length > 0);
}

/** Nothing if a presence is among them, which no key stands for. */
function keysOf(field: Field, matches: readonly PathMatch[]): readonly HttpKey[] {
  const keys: HttpKey[] = [];
  for (const match of matches) {
    if (match.kind === 'presence') return [];
    const value: ValueMatch =
      match.kind === 'template' ? { kind: 'prefix', value: literalPrefix(match.value) } : match;
    keys.push({ field, value });
  }
  return keys;
}
