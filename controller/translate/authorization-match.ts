// The values of an authorization rule to matches of the engine. A value that cannot be used is never just dropped:
// it is reported, and the caller decides by the policy's action what is the safe reading.

import { type Cidr, parseCidr } from '../../mesh/model/ip-address.ts';
import type { Match, ServiceAccountMatch, StringMatch } from '../../mesh/model/authorization.ts';
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationSource,
} from '../resources/own-kinds.ts';
import type { FieldPath } from '../source/problem.ts';

export interface BadValue {
  readonly path: FieldPath;
  readonly message: string;
}

/** A match, and which of its kinds had a value that cannot be used. */
export interface ParsedMatch {
  readonly match: Match;
  readonly spoiled: ReadonlySet<keyof Match>;
  readonly bad: readonly BadValue[];
}

export interface MatchContext {
  readonly namespace: string;
  readonly trustDomain: string;
  readonly at: FieldPath;
}

/** The kinds that are lists of alternatives: all but `http`. */
type MatchLists = Omit<Match, 'http'> & Readonly<Record<string, readonly unknown[]>>;

export const emptyMatch: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

type Parse<T> = (text: string) => T | string;

/** Collects values kind by kind. */
class MatchBuilder {
  readonly #context: MatchContext;
  readonly #match: Record<string, readonly unknown[]> = { ...(emptyMatch as MatchLists) };
  readonly #spoiled = new Set<keyof Match>();
  readonly #bad: BadValue[] = [];

  constructor(context: MatchContext) {
    this.#context = context;
  }

  /** `parse` returns the value, or a sentence that says what is wrong with it. */
  add<T extends object | number>(
    kind: keyof Match,
    parse: Parse<T>,
    written: { readonly field: string; readonly values: readonly (string | number)[] | undefined },
  ): this {
    if (written.values === undefined) return this;
    const values: T[] = [];
    for (const [index, text] of written.values.entries()) {
      const value = parse(String(text));
      if (typeof value !== 'string') values.push(value);
      else {
        this.#spoiled.add(kind);
        this.#bad.push({ path: [...this.#context.at, written.field, index], message: value });
      }
    }
    this.#match[kind] = values;
    return this;
  }

  finish(): ParsedMatch {
    return { match: this.#match as unknown as Match, spoiled: this.#spoiled, bad: this.#bad };
  }
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
    .finish();
}

export function operationMatch(operation: AuthorizationOperation, context: MatchContext): ParsedMatch {
  return new MatchBuilder(context)
    .add('destinationPorts', parsePort, { field: 'ports', values: operation.ports })
    .add('notDestinationPorts', parsePort, { field: 'notPorts', values: operation.notPorts })
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
  }
}

/** `*` any non-empty text, `a*` and `*a` prefix and suffix, everything else exact. */
function parseText(text: string): StringMatch | string {
  if (text === '*') return { kind: 'presence' };
  const inner = text.slice(1, -1);
  if (inner.includes('*') || (text.startsWith('*') && text.endsWith('*'))) {
    return `"${text}" is no pattern: "*" may stand at the start or at the end, not in the middle or at both`;
  }
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  return text === '' ? 'An empty text matches nothing' : { kind: 'exact', value: text };
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
  const matches = parsed.map(({ match, spoiled }) => {
    const widened: Record<string, readonly unknown[]> = { ...(match as MatchLists) };
    for (const kind of spoiled) {
      if (!kind.startsWith('not')) widened[kind] = [];
    }
    return widened as unknown as Match;
  });
  const unrestricted = matches.some((match) => Object.values(match).every((values) => values.length === 0));
  return unrestricted || matches.length === 0 ? undefined : matches;
}
