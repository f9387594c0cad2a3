// The values of an authorization rule to matches of the engine. A value that cannot be used is never just dropped:
// it is reported, and the caller decides by the policy's action what is the safe reading.

import { isBlankMatch } from '../../mesh/authz/l4-projection.ts';
import { type Cidr, parseCidr } from '../../mesh/model/ip-address.ts';
import {
  emptyHttp,
  emptyMatch,
  type HttpMatchConditions,
  type Match,
  type ServiceAccountMatch,
  type StringMatch,
} from '../../mesh/model/authorization.ts';
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationSource,
} from '../resources/own-kinds.ts';
import type { FieldPath } from '../source/problem.ts';
import {
  parseHeaderName,
  parseHeaderValue,
  parseHost,
  parseMethod,
  parsePath,
  parseText,
} from './http-match.ts';

export interface BadValue {
  readonly path: FieldPath;
  readonly message: string;
}

/** A match, and which of its kinds had a value that cannot be used. */
export interface ParsedMatch {
  readonly match: Match;
  readonly spoiled: ReadonlySet<Kind>;
  readonly bad: readonly BadValue[];
}

export interface MatchContext {
  readonly namespace: string;
  readonly trustDomain: string;
  readonly at: FieldPath;
}

type L4Kind = keyof Omit<Match, 'http'>;
type HttpKind = keyof HttpMatchConditions;
type Kind = L4Kind | HttpKind;

type Parse<T> = (text: string) => T | string;

interface Written {
  readonly field: string;
  readonly values: readonly (string | number)[] | undefined;
}

/** Collects values kind by kind. */
class MatchBuilder {
  readonly #context: MatchContext;
  readonly #lists: Partial<Record<Kind, readonly unknown[]>> = {};
  readonly #spoiled = new Set<Kind>();
  readonly #bad: BadValue[] = [];

  constructor(context: MatchContext) {
    this.#context = context;
  }

  /** `parse` returns the value, or a sentence that says what is wrong with it. */
  add<T extends object | number>(kind: Kind, parse: Parse<T>, written: Written): this {
    if (written.values === undefined) return this;
    const { values, whole } = this.#parse(parse, written);
    if (!whole) this.#spoiled.add(kind);
    this.#lists[kind] = values;
    return this;
  }

  /** A header or a claim: a condition with a name of its own. */
  addNamed(
    kind: 'headers' | 'claims',
    name: object,
    { values, notValues }: Pick<AuthorizationCondition, 'values' | 'notValues'>,
  ): this {
    const parse = kind === 'headers' ? parseHeaderValue : parseText;
    const positive = this.#parse(parse, { field: 'values', values });
    const negative = this.#parse(parse, { field: 'notValues', values: notValues });
    if (!positive.whole) this.#spoiled.add(kind);
    this.#lists[kind] = [{ ...name, values: positive.values, notValues: negative.values }];
    return this;
  }

  /** The condition as a whole cannot be used. */
  spoil(kind: Kind, { field, message }: { readonly field: string; readonly message: string }): this {
    this.#spoiled.add(kind);
    this.#bad.push({ path: [...this.#context.at, field], message });
    return this;
  }

  #parse<T extends object | number>(
    parse: Parse<T>,
    { field, values = [] }: Written,
  ): { readonly values: readonly T[]; readonly whole: boolean } {
    const parsed: T[] = [];
    for (const [index, text] of values.entries()) {
      const value = parse(String(text));
      if (typeof value !== 'string') parsed.push(value);
      else this.#bad.push({ path: [...this.#context.at, field, index], message: value });
    }
    return { values: parsed, whole: parsed.length === values.length };
  }

  finish(): ParsedMatch {
    return { match: matchOf(this.#lists), spoiled: this.#spoiled, bad: this.#bad };
  }
}

/** L7 kinds go into `http`, which is left out if there are none. */
function matchOf(lists: Partial<Record<Kind, readonly unknown[]>>): Match {
  const l4 = Object.entries(lists).filter(([kind]) => !Object.hasOwn(emptyHttp, kind));
  const http = Object.entries(lists).filter(([kind]) => Object.hasOwn(emptyHttp, kind));
  const match = { ...emptyMatch, ...Object.fromEntries(l4) };
  return http.length === 0 ? match : { ...match, http: { ...emptyHttp, ...Object.fromEntries(http) } };
}

export function sourceMatch(source: AuthorizationSource, context: MatchContext): ParsedMatch {
  const principal = parsePrincipal(context.trustDomain);
  const account = parseServiceAccount(context.namespace);
  return new MatchBuilder(context)
    .add('principals', principal, { field: 'principals', values: source.principals })
    .add('notPrincipals', principal, { field: 'notPrincipals', values: source.notPrincipals })
    .add('namespaces', parseText, { field: 'namespaces', values: source.namespaces })
    .add('notNamespaces', parseText, { field: 'notNamespaces', values: source.notNamespaces })
    .add('sourceIps', parseBlock, { field: 'ipBlocks', values: source.ipBlocks })
    .add('notSourceIps', parseBlock, { field: 'notIpBlocks', values: source.notIpBlocks })
    .add('serviceAccounts', account, { field: 'serviceAccounts', values: source.serviceAccounts })
    .add('notServiceAccounts', account, { field: 'notServiceAccounts', values: source.notServiceAccounts })
    .add('requestPrincipals', parseText, { field: 'requestPrincipals', values: source.requestPrincipals })
    .add('notRequestPrincipals', parseText, {
      field: 'notRequestPrincipals',
      values: source.notRequestPrincipals,
    })
    .finish();
}

export function operationMatch(operation: AuthorizationOperation, context: MatchContext): ParsedMatch {
  return new MatchBuilder(context)
    .add('destinationPorts', parsePort, { field: 'ports', values: operation.ports })
    .add('notDestinationPorts', parsePort, { field: 'notPorts', values: operation.notPorts })
    .add('hosts', parseHost, { field: 'hosts', values: operation.hosts })
    .add('notHosts', parseHost, { field: 'notHosts', values: operation.notHosts })
    .add('methods', parseMethod, { field: 'methods', values: operation.methods })
    .add('notMethods', parseMethod, { field: 'notMethods', values: operation.notMethods })
    .add('paths', parsePath, { field: 'paths', values: operation.paths })
    .add('notPaths', parsePath, { field: 'notPaths', values: operation.notPaths })
    .finish();
}

export function conditionMatch(condition: AuthorizationCondition, context: MatchContext): ParsedMatch {
  const values = { field: 'values', values: condition.values };
  const notValues = { field: 'notValues', values: condition.notValues };
  const builder = new MatchBuilder(context);
  switch (condition.key) {
    case 'source.ip':
      return builder.add('sourceIps', parseBlock, values).add('notSourceIps', parseBlock, notValues).finish();
    case 'destination.ip':
      return builder
        .add('destinationIps', parseBlock, values)
        .add('notDestinationIps', parseBlock, notValues)
        .finish();
    case 'destination.port':
      return builder
        .add('destinationPorts', parsePort, values)
        .add('notDestinationPorts', parsePort, notValues)
        .finish();
    case 'source.namespace':
      return builder.add('namespaces', parseText, values).add('notNamespaces', parseText, notValues).finish();
    case 'source.principal': {
      const principal = parsePrincipal(context.trustDomain);
      return builder.add('principals', principal, values).add('notPrincipals', principal, notValues).finish();
    }
    case 'request.auth.principal':
      return builder
        .add('requestPrincipals', parseText, values)
        .add('notRequestPrincipals', parseText, notValues)
        .finish();
    case 'request.auth.audiences':
      return builder.addNamed('claims', { path: ['aud'] }, condition).finish();
    case 'request.auth.presenter':
      return builder.addNamed('claims', { path: ['azp'] }, condition).finish();
    default:
      return namedCondition(builder, condition).finish();
  }
}

const headerKey = /^request\.headers\[([^[\]]+)\]$/;
const claimKey = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/;

function namedCondition(builder: MatchBuilder, condition: AuthorizationCondition): MatchBuilder {
  const { key } = condition;
  const header = headerKey.exec(key)?.[1];
  if (header !== undefined) {
    const name = parseHeaderName(header);
    return typeof name === 'string'
      ? builder.spoil('headers', { field: 'key', message: name })
      : builder.addNamed('headers', name, condition);
  }
  const claim = claimKey.exec(key)?.[1];
  if (claim !== undefined)
    return builder.addNamed('claims', { path: claim.slice(1, -1).split('][') }, condition);
  return builder.spoil('headers', { field: 'key', message: `"${key}" is no attribute that rules compare` });
}

/** Takes the scheme off, and reads `cluster.local` as the mesh's own trust domain, as Istio does. */
function parsePrincipal(trustDomain: string): Parse<StringMatch> {
  return (written) => {
    const text = written.startsWith('spiffe://') ? written.slice('spiffe://'.length) : written;
    const local = 'cluster.local/';
    return parseText(text.startsWith(local) ? `${trustDomain}/${text.slice(local.length)}` : text);
  };
}

function parseBlock(text: string): Cidr | string {
  return parseCidr(text) ?? `"${text}" is neither an IP address nor a CIDR block`;
}

function parsePort(text: string): number | string {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : `"${text}" is no port: ports are 1 to 65535`;
}

function parseServiceAccount(namespace: string): Parse<ServiceAccountMatch> {
  return (text) => {
    const parts = text.includes('/') ? text.split('/') : [namespace, text];
    const [first, second] = parts;
    if (parts.length !== 2 || !first || !second || text.includes('*')) {
      return `"${text}" is no service account: write "namespace/name" or "name", without wildcards`;
    }
    return { namespace: first, serviceAccount: second };
  };
}

/**
 * The clause of a rule that refuses (DENY) with its unusable values read in the widest way: a kind with an unusable
 * positive value stops restricting, an unusable exception is no exception. Undefined: the clause restricts nothing.
 */
export function widenedClause(parsed: readonly ParsedMatch[]): readonly Match[] | undefined {
  const matches = parsed.map(widened);
  return matches.some(isBlankMatch) || matches.length === 0 ? undefined : matches;
}

function widened({ match, spoiled }: ParsedMatch): Match {
  const without = [...spoiled].filter((kind) => !kind.startsWith('not'));
  if (without.length === 0) return match;
  const { http, ...l4 } = match;
  const lists: Partial<Record<Kind, readonly unknown[]>> = { ...l4, ...http };
  for (const kind of without) lists[kind] = [];
  return matchOf(lists);
}
