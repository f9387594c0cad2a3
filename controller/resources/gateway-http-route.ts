// HTTPRoute as the Gateway API defines it (v1.6, both channels), with the rules its definition has in CEL.

import { z } from 'zod';
import {
  backendReference,
  checkMatchCount,
  checkRuleNames,
  duration,
  headerName,
  hostnames,
  list,
  parentReferences,
  sectionName,
  sessionPersistence,
  wholeNumber,
} from './gateway-fields.ts';
import { type RouteFilterSpec, routeFilters } from './gateway-filters.ts';
import type { ObjectMeta } from './object-meta.ts';

const matchValue = z.string().min(1, 'Must not be empty').max(4096);

const pathMatch = z
  .object({ type: z.string().default('PathPrefix'), value: z.string().max(1024).default('/') })
  .superRefine(({ type, value }, context) => {
    if (type !== 'Exact' && type !== 'PathPrefix') return;
    const fault = pathFault(value);
    if (fault !== undefined) context.addIssue({ code: 'custom', path: ['value'], message: fault });
  });

function pathFault(value: string): string | undefined {
  if (!value.startsWith('/')) return 'Must start with "/"';
  const segments = ['//', '/./', '/../', '#', '%2f', '%2F'].find((part) => value.includes(part));
  if (segments !== undefined) return `Must not contain "${segments}"`;
  if (value.endsWith('/.') || value.endsWith('/..')) return 'Must not end with a dot segment';
  const valid = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/.test(value);
  return valid ? undefined : 'Must consist of characters of a path (RFC 3986), others percent-encoded';
}

const named = z.object({ type: z.string().default('Exact'), name: headerName, value: matchValue });

const match = z.object({
  path: pathMatch.default({ type: 'PathPrefix', value: '/' }),
  headers: list(named, 16),
  queryParams: list(named, 16),
  method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']).optional(),
});

const backend = backendReference.extend({ filters: routeFilters });

const rule = z
  .object({
    name: sectionName.optional(),
    matches: list(match, 64),
    filters: routeFilters,
    backendRefs: list(backend, 16),
    timeouts: z.object({ request: duration.optional(), backendRequest: duration.optional() }).optional(),
    retry: z
      .object({
        codes: list(wholeNumber(400, 599), 200),
        attempts: wholeNumber(1, 1_000_000).optional(),
        backoff: duration.optional(),
      })
      .optional(),
    sessionPersistence: sessionPersistence.optional(),
  })
  .superRefine(({ matches, filters, backendRefs }, context) => {
    const redirect = filters.findIndex(({ type }) => type === 'RequestRedirect');
    if (redirect >= 0 && backendRefs.length > 0) {
      const message = 'RequestRedirect must not be used together with backendRefs';
      context.addIssue({ code: 'custom', path: ['filters', redirect], message });
    }
    if (hasOnePrefix(matches)) return;
    const message = 'replacePrefixMatch needs exactly one match, of type PathPrefix';
    for (const path of prefixReplacements(filters, ['filters']))
      context.addIssue({ code: 'custom', path, message });
    for (const [index, { filters: own }] of backendRefs.entries())
      for (const path of prefixReplacements(own, ['backendRefs', index, 'filters']))
        context.addIssue({ code: 'custom', path, message });
  });

/** No match at all means the one that the definition fills in: prefix "/". */
function hasOnePrefix(matches: readonly z.output<typeof match>[]): boolean {
  return matches.length === 0 || (matches.length === 1 && matches[0]?.path.type === 'PathPrefix');
}

function prefixReplacements(
  filters: readonly RouteFilterSpec[],
  at: (string | number)[],
): (string | number)[][] {
  return filters.flatMap(({ requestRedirect, urlRewrite }, index) => {
    if (requestRedirect?.path?.type === 'ReplacePrefixMatch')
      return [[...at, index, 'requestRedirect', 'path']];
    return urlRewrite?.path?.type === 'ReplacePrefixMatch' ? [[...at, index, 'urlRewrite', 'path']] : [];
  });
}

const spec = z
  .object({
    parentRefs: parentReferences,
    hostnames,
    rules: z
      .array(rule)
      .min(1, 'Must not be empty')
      .max(16)
      .default(() => [emptyRule]),
  })
  .superRefine(({ rules }, context) => {
    checkRuleNames(rules, context);
    checkMatchCount(rules, context);
  });

const emptyRule: z.output<typeof rule> = { matches: [], filters: [], backendRefs: [] };

export const httpRouteSchema = z.object({ spec });

export interface HttpRouteObject {
  readonly metadata: ObjectMeta;
  readonly spec: z.output<typeof spec>;
}
export type HttpRouteRuleSpec = z.output<typeof rule>;
export type HttpRouteMatchSpec = z.output<typeof match>;
