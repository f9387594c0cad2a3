// Where tokens are in a request: finds them by the rules' locations, and takes them out where the application is not
// to see them. Text only; whether a token is any good is not asked here.

import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { JwtRule, TokenLocation } from '../../mesh/model/request-authentication.ts';
import { decodeQuery } from '../routing/query.ts';

export interface FoundToken {
  readonly token: string;
  /** Indexes of the rules in whose locations it is, ascending. */
  readonly rules: readonly number[];
}

interface Place {
  readonly location: TokenLocation;
  readonly rule: number;
}

/** All locations of a list of rules, sorted by what has to be looked at. */
export class TokenLocations {
  readonly #headers = new Map<string, Place[]>();
  readonly #cookies: Place[] = [];
  readonly #query: Place[] = [];

  constructor(rules: readonly JwtRule[]) {
    for (const [rule, { locations }] of rules.entries()) {
      for (const location of locations) {
        const place = { location, rule };
        if (location.kind === 'cookie') this.#cookies.push(place);
        else if (location.kind === 'query') this.#query.push(place);
        else {
          const places = this.#headers.get(location.name);
          if (places === undefined) this.#headers.set(location.name, [place]);
          else places.push(place);
        }
      }
    }
  }

  /** Each distinct token once, in no particular order. */
  find(head: RequestHead): readonly FoundToken[] {
    let found: Map<string, Set<number>> | undefined;
    const add = (token: string, rule: number): void => {
      found ??= new Map();
      const rules = found.get(token);
      if (rules === undefined) found.set(token, new Set([rule]));
      else rules.add(rule);
    };
    for (const [name, value] of head.headers) {
      const places = this.#headers.get(name);
      if (places !== undefined) addFromHeader(places, value, add);
      if (name === 'cookie' && this.#cookies.length > 0) {
        for (const pair of value.split(';')) addFromPair(this.#cookies, cookiePair(pair), add);
      }
    }
    if (this.#query.length > 0) {
      for (const part of queryParts(head.path)) addFromPair(this.#query, queryPair(part), add);
    }
    if (found === undefined) return none;
    return [...found].map(([token, rules]) => ({ token, rules: [...rules].sort((a, b) => a - b) }));
  }
}

const none: readonly FoundToken[] = Object.freeze([]);

type Add = (token: string, rule: number) => void;

function addFromHeader(places: readonly Place[], value: string, add: Add): void {
  for (const { location, rule } of places) {
    const token = location.kind === 'header' ? tokenInHeader(value, location.prefix) : undefined;
    if (token !== undefined) add(token, rule);
  }
}

function addFromPair(places: readonly Place[], pair: readonly [string, string], add: Add): void {
  for (const { location, rule } of places) {
    if (location.kind !== 'header' && location.name === pair[0]) add(pair[1], rule);
  }
}

/** Undefined if the field holds something else, Basic credentials say. Schemes have no case (RFC 9110 section 11.1). */
function tokenInHeader(value: string, prefix: string): string | undefined {
  if (value.slice(0, prefix.length).toLowerCase() !== prefix.toLowerCase()) return undefined;
  return value.slice(prefix.length).trim();
}

/** RFC 6265 section 4.2.1; quotes around a value are no part of it. */
function cookiePair(pair: string): readonly [string, string] {
  const equals = pair.indexOf('=');
  if (equals < 0) return ['', ''];
  const value = pair.slice(equals + 1).trim();
  const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"');
  return [pair.slice(0, equals).trim(), quoted ? value.slice(1, -1) : value];
}

function queryParts(path: string): readonly string[] {
  const at = path.indexOf('?');
  return at === -1 ? [] : path.slice(at + 1).split('&');
}

function queryPair(part: string): readonly [string, string] {
  const equals = part.indexOf('=');
  if (equals < 0) return [decodeQuery(part), ''];
  return [decodeQuery(part.slice(0, equals)), decodeQuery(part.slice(equals + 1))];
}

/** The head without what is at the locations. The same head if nothing is. */
export function withoutTokens(head: RequestHead, locations: readonly TokenLocation[]): RequestHead {
  const params = new Set(locations.filter(({ kind }) => kind === 'query').map(({ name }) => name));
  const cookies = new Set(locations.filter(({ kind }) => kind === 'cookie').map(({ name }) => name));
  const path = params.size === 0 ? head.path : withoutParams(head.path, params);
  let changed = path !== head.path;
  const headers: Header[] = [];
  for (const header of head.headers) {
    const kept = withoutToken(header, { locations, cookies });
    if (kept !== header) changed = true;
    if (kept !== undefined) headers.push(kept);
  }
  return changed ? { ...head, path, headers } : head;
}

function withoutToken(
  header: Header,
  {
    locations,
    cookies,
  }: { readonly locations: readonly TokenLocation[]; readonly cookies: ReadonlySet<string> },
): Header | undefined {
  const [name, value] = header;
  for (const location of locations) {
    if (location.kind !== 'header' || location.name !== name) continue;
    if (tokenInHeader(value, location.prefix) !== undefined) return undefined;
  }
  if (name !== 'cookie' || cookies.size === 0) return header;
  const pairs = value.split(';');
  const kept = pairs.filter((pair) => !cookies.has(cookiePair(pair)[0]));
  if (kept.length === pairs.length) return header;
  const text = kept.map((pair) => pair.trim()).join('; ');
  return text === '' ? undefined : [name, text];
}

function withoutParams(path: string, params: ReadonlySet<string>): string {
  const parts = queryParts(path);
  const kept = parts.filter((part) => !params.has(queryPair(part)[0]));
  if (kept.length === parts.length) return path;
  const before = path.slice(0, path.indexOf('?'));
  return kept.length === 0 ? before : `${before}?${kept.join('&')}`;
}
