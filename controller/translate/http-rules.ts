// Rules of HTTPRoutes and GRPCRoutes to the rules of the model.

import type {
  Backend,
  HttpMatch,
  HttpRule,
  NamedMatch,
  RouteRetry,
  RouteTimeouts,
  SessionPersistence,
} from '../../mesh/model/routing.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { BackendObjectReference, SessionPersistenceSpec } from '../resources/gateway-fields.ts';
import type { RouteFilterSpec } from '../resources/gateway-filters.ts';
import type { GrpcRouteMatchSpec, GrpcRouteRuleSpec } from '../resources/gateway-grpc-route.ts';
import type { HttpRouteMatchSpec, HttpRouteRuleSpec } from '../resources/gateway-http-route.ts';
import type { FieldPath } from '../source/problem.ts';
import { parseDurationMs } from './durations.ts';
import type { BackendResolver } from './route-backends.ts';
import type { RuleNotes } from './route-draft.ts';
import { translateFilters } from './route-filters.ts';
import { patternFault } from './route-patterns.ts';

export interface RuleContext {
  readonly resolver: BackendResolver;
  readonly notes: RuleNotes;
  readonly trafficPolicy: HttpTrafficPolicy | undefined;
}

/** Undefined: the rule is dropped, and the notes say why. */
export function translateHttpRule(context: RuleContext, rule: HttpRouteRuleSpec): HttpRule | undefined {
  const { notes } = context;
  const matches = rule.matches.map((match, i) => httpMatch(match, ['matches', i], notes));
  return finishRule(context, rule, {
    matches: matches.length === 0 ? [everything] : matches,
    timeouts: timeouts(rule.timeouts, notes),
    retry: retry(rule.retry),
  });
}

/** Undefined: the rule is dropped, and the notes say why. */
export function translateGrpcRule(context: RuleContext, rule: GrpcRouteRuleSpec): HttpRule | undefined {
  const matches = rule.matches.map((match, i) => grpcMatch(match, ['matches', i], context.notes));
  const noTimeouts = { requestMs: undefined, backendRequestMs: undefined };
  return finishRule(context, rule, { matches, timeouts: noTimeouts, retry: undefined });
}

/** The match that the API's definition fills in where there is none. */
const everything: HttpMatch = {
  path: { kind: 'prefix', value: '/' },
  method: undefined,
  headers: [],
  query: [],
  grpc: undefined,
};

interface CommonRule {
  readonly filters: readonly RouteFilterSpec[];
  readonly backendRefs: readonly (BackendObjectReference & {
    readonly weight: number;
    readonly filters: readonly RouteFilterSpec[];
  })[];
  readonly sessionPersistence?: SessionPersistenceSpec | undefined;
}

function finishRule(
  context: RuleContext,
  rule: CommonRule,
  own: Pick<HttpRule, 'matches' | 'timeouts' | 'retry'>,
): HttpRule | undefined {
  const { resolver, notes, trafficPolicy } = context;
  const filters = translateFilters(context, rule.filters, { at: ['filters'], place: 'rule' });
  const backends = rule.backendRefs.map((backend, index): Backend => {
    const at = ['backendRefs', index];
    return {
      weight: backend.weight,
      target: resolver.resolve(backend, at, notes),
      filters: translateFilters(context, backend.filters, { at: [...at, 'filters'], place: 'backend' }),
    };
  });
  const session = sessionPersistence(rule.sessionPersistence, notes);
  if (notes.unmatchable) return undefined;
  const common = { name: notes.name, ...own, sessionPersistence: session, trafficPolicy };
  return notes.isInvalid
    ? { ...common, filters: [], backends: [refusing] }
    : { ...common, filters, backends };
}

const refusing: Backend = {
  weight: 1,
  target: { kind: 'invalid', reason: 'The rule is invalid, see the status of its route' },
  filters: [],
};

function httpMatch(match: HttpRouteMatchSpec, at: FieldPath, notes: RuleNotes): HttpMatch {
  return {
    path: pathMatch(match.path, [...at, 'path'], notes),
    method: match.method,
    headers: namedMatches(match.headers, { at: [...at, 'headers'], lower: true, notes }),
    query: namedMatches(match.queryParams, { at: [...at, 'queryParams'], lower: false, notes }),
    grpc: undefined,
  };
}

function pathMatch(
  { type, value }: HttpRouteMatchSpec['path'],
  at: FieldPath,
  notes: RuleNotes,
): HttpMatch['path'] {
  switch (type) {
    case 'Exact':
      return { kind: 'exact', value };
    case 'PathPrefix':
      return { kind: 'prefix', value };
    case 'RegularExpression':
      checkPattern(value, [...at, 'value'], notes);
      return { kind: 'regex', value };
    default:
      notes.invalidMatch([...at, 'type'], `"${type}" is not supported`);
      return undefined;
  }
}

/** Of several entries with one name the first counts (Gateway API); names of headers are compared without case. */
function namedMatches(
  written: HttpRouteMatchSpec['headers'],
  { at, lower, notes }: { readonly at: FieldPath; readonly lower: boolean; readonly notes: RuleNotes },
): readonly NamedMatch[] {
  const seen = new Set<string>();
  const matches: NamedMatch[] = [];
  for (const [index, { type, name: writtenName, value }] of written.entries()) {
    const name = lower ? writtenName.toLowerCase() : writtenName;
    if (seen.has(name)) continue;
    seen.add(name);
    if (type !== 'Exact' && type !== 'RegularExpression') {
      notes.invalidMatch([...at, index, 'type'], `"${type}" is not supported`);
      continue;
    }
    if (type === 'RegularExpression') checkPattern(value, [...at, index, 'value'], notes);
    matches.push({ name, kind: type === 'Exact' ? 'exact' : 'regex', value });
  }
  return matches;
}

function grpcMatch(match: GrpcRouteMatchSpec, at: FieldPath, notes: RuleNotes): HttpMatch {
  const headers = namedMatches(match.headers, { at: [...at, 'headers'], lower: true, notes });
  const common = { path: undefined, method: undefined, headers, query: [] };
  if (match.method === undefined) return { ...common, grpc: undefined };
  const { type, service, method } = match.method;
  if (type !== 'Exact' && type !== 'RegularExpression')
    notes.invalidMatch([...at, 'method', 'type'], `"${type}" is not supported`);
  if (type === 'RegularExpression') {
    if (service !== undefined) checkPattern(service, [...at, 'method', 'service'], notes);
    if (method !== undefined) checkPattern(method, [...at, 'method', 'method'], notes);
  }
  return { ...common, grpc: { kind: type === 'Exact' ? 'exact' : 'regex', service, method } };
}

function checkPattern(pattern: string, at: FieldPath, notes: RuleNotes): void {
  const fault = patternFault(pattern);
  if (fault !== undefined) notes.invalidMatch(at, fault);
}

function timeouts(written: HttpRouteRuleSpec['timeouts'], notes: RuleNotes): RouteTimeouts {
  const requestMs = durationMs(written?.request);
  const backendRequestMs = durationMs(written?.backendRequest);
  if (requestMs !== undefined && requestMs > 0 && (backendRequestMs ?? 0) > requestMs)
    notes.invalid(['timeouts', 'backendRequest'], 'Must not be longer than the timeout of the request');
  return { requestMs, backendRequestMs };
}

/** The API leaves the number of attempts open where it is not given; one is what costs a failing backend least. */
function retry(written: HttpRouteRuleSpec['retry']): RouteRetry | undefined {
  if (written === undefined) return undefined;
  const codes = [...new Set(written.codes)].sort((a, b) => a - b);
  return { codes, attempts: written.attempts ?? 1, backoffMs: durationMs(written.backoff) };
}

const defaultSessionName = 'weft-session';

function sessionPersistence(
  written: SessionPersistenceSpec | undefined,
  notes: RuleNotes,
): SessionPersistence | undefined {
  if (written === undefined) return undefined;
  const { type, sessionName, absoluteTimeout, idleTimeout, cookieConfig } = written;
  const at = ['sessionPersistence'];
  if (type !== 'Cookie' && type !== 'Header') notes.invalid([...at, 'type'], `"${type}" is not supported`);
  const lifetime = cookieConfig?.lifetimeType ?? 'Session';
  if (lifetime !== 'Session' && lifetime !== 'Permanent')
    notes.invalid([...at, 'cookieConfig', 'lifetimeType'], `"${lifetime}" is not supported`);
  const name = sessionName ?? defaultSessionName;
  // Of a cookie (RFC 6265 section 4.1.1) and of a header alike: a token.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
    notes.invalid([...at, 'sessionName'], 'Must be letters, digits and "-", "_" or "."');
  return {
    kind: type === 'Header' ? 'header' : 'cookie',
    name: type === 'Header' ? name.toLowerCase() : name,
    permanent: lifetime === 'Permanent',
    absoluteTimeoutMs: durationMs(absoluteTimeout),
    idleTimeoutMs: durationMs(idleTimeout),
  };
}

/** Most that timers and documents take; a longer time is as good as this one (24 days). */
const maxMs = 0x7fff_ffff;

/** Of a text that the object's schema has checked. */
function durationMs(text: string | undefined): number | undefined {
  const ms = text === undefined ? undefined : parseDurationMs(text);
  return ms === undefined ? undefined : Math.min(ms, maxMs);
}
