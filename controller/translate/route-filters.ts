// Filters of HTTPRoutes and GRPCRoutes to the model's. A filter that is not known makes its rule invalid: it must not be
// skipped, because nobody knows what it was to keep away (Gateway API).

import type { CorsFilter, HeaderEdit, HttpFilter, PathEdit } from '../../mesh/model/routing.ts';
import type { HeaderEditSpec, PathModifierSpec, RouteFilterSpec } from '../resources/gateway-filters.ts';
import type { FieldPath } from '../source/problem.ts';
import type { BackendResolver } from './route-backends.ts';
import type { RuleNotes } from './route-draft.ts';

export interface FilterContext {
  readonly resolver: BackendResolver;
  readonly notes: RuleNotes;
}

const grpcTypes: ReadonlySet<string> = new Set([
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestMirror',
]);
/** What concerns the request as a whole and so cannot depend on the backend that was chosen for it. */
const ruleOnlyTypes: ReadonlySet<string> = new Set(['RequestRedirect', 'CORS', 'ExternalAuth']);

/** `at` is relative to the rule; `place` says whether they are those of the rule or of one backend. */
export function translateFilters(
  context: FilterContext,
  filters: readonly RouteFilterSpec[],
  { at, place }: { readonly at: FieldPath; readonly place: 'rule' | 'backend' },
): readonly HttpFilter[] {
  const { notes } = context;
  return filters.flatMap((filter, index) => {
    const field = [...at, index];
    const { type } = filter;
    if (notes.route.kind === 'GRPCRoute' && !grpcTypes.has(type)) {
      notes.invalid([...field, 'type'], `Filter ${type} is not supported in a GRPCRoute`);
      return [];
    }
    if (place === 'backend' && ruleOnlyTypes.has(type)) {
      notes.invalid([...field, 'type'], `Filter ${type} is not supported on a backend, only on a rule`);
      return [];
    }
    return translateFilter(context, filter, field) ?? [];
  });
}

function translateFilter(
  context: FilterContext,
  filter: RouteFilterSpec,
  field: FieldPath,
): HttpFilter | undefined {
  const { requestHeaderModifier, responseHeaderModifier, requestRedirect, urlRewrite, cors } = filter;
  if (requestHeaderModifier) return { kind: 'request-headers', ...headerEdit(requestHeaderModifier) };
  if (responseHeaderModifier) return { kind: 'response-headers', ...headerEdit(responseHeaderModifier) };
  if (filter.requestMirror) return mirror(context, filter.requestMirror, field);
  if (requestRedirect) {
    const { scheme, hostname, path, port, statusCode } = requestRedirect;
    return { kind: 'redirect', scheme, hostname, path: pathEdit(path), port, status: statusCode };
  }
  if (urlRewrite) return { kind: 'rewrite', hostname: urlRewrite.hostname, path: pathEdit(urlRewrite.path) };
  if (cors) return corsFilter(cors);
  if (filter.externalAuth) return externalAuth(context, filter.externalAuth, field);
  const { extensionRef, type } = filter;
  const what =
    extensionRef === undefined ? `Filter ${type}` : `${extensionRef.kind} of ${extensionRef.group}`;
  context.notes.invalid([...field, 'type'], `${what} is not supported`);
  return undefined;
}

/** Names are compared without case; of several entries with one name the first counts (Gateway API). */
function headerEdit({ set, add, remove }: HeaderEditSpec): HeaderEdit {
  const seen = new Set<string>();
  const first = (entries: HeaderEditSpec['set']): (readonly [string, string])[] =>
    entries.flatMap(({ name, value }) => {
      const lower = name.toLowerCase();
      if (seen.has(lower)) return [];
      seen.add(lower);
      return [[lower, value] as const];
    });
  return {
    set: first(set),
    add: first(add),
    remove: [...new Set(remove.map((name) => name.toLowerCase()))].filter((name) => !seen.has(name)),
  };
}

function pathEdit(modifier: PathModifierSpec | undefined): PathEdit | undefined {
  if (modifier === undefined) return undefined;
  return modifier.type === 'ReplaceFullPath'
    ? { kind: 'full', value: modifier.replaceFullPath ?? '' }
    : { kind: 'prefix', value: modifier.replacePrefixMatch ?? '' };
}

function mirror(
  { resolver, notes }: FilterContext,
  { backendRef, percent, fraction }: NonNullable<RouteFilterSpec['requestMirror']>,
  field: FieldPath,
): HttpFilter {
  const target = resolver.resolve(backendRef, [...field, 'requestMirror', 'backendRef'], notes);
  const numerator = fraction?.numerator ?? percent ?? 100;
  return { kind: 'mirror', target, numerator, denominator: fraction?.denominator ?? 100 };
}

function corsFilter(cors: NonNullable<RouteFilterSpec['cors']>): CorsFilter {
  return {
    kind: 'cors',
    allowOrigins: cors.allowOrigins,
    allowCredentials: cors.allowCredentials,
    allowMethods: cors.allowMethods,
    allowHeaders: cors.allowHeaders,
    exposeHeaders: cors.exposeHeaders,
    maxAgeSeconds: cors.maxAge,
  };
}

function externalAuth(
  { resolver, notes }: FilterContext,
  auth: NonNullable<RouteFilterSpec['externalAuth']>,
  field: FieldPath,
): HttpFilter {
  const target = resolver.resolve(auth.backendRef, [...field, 'externalAuth', 'backendRef'], notes);
  const lower = (names: readonly string[] = []) => [...new Set(names.map((name) => name.toLowerCase()))];
  return {
    kind: 'external-auth',
    protocol: auth.protocol === 'GRPC' ? 'grpc' : 'http',
    target,
    path: auth.http?.path ?? '',
    allowedHeaders: lower(auth.http?.allowedHeaders ?? auth.grpc?.allowedHeaders),
    allowedResponseHeaders: lower(auth.http?.allowedResponseHeaders),
    maxBodyBytes: auth.forwardBody?.maxSize ?? 0,
  };
}
