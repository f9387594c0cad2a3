// Cross-origin resource sharing (Fetch standard, section 3.2; HTTPCORSFilter). Where a route has the filter, the route
// decides: what the application says about CORS is dropped. Preflights are answered here and never reach it.

import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { CorsFilter } from '../../mesh/model/routing.ts';

const ofTheRoute = new Set([
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers',
]);

/** The answer to a preflight; undefined if the request is none. An origin that is not allowed gets 403. */
export function answerPreflight(
  cors: CorsFilter,
  head: RequestHead,
): { readonly status: 204 | 403; readonly headers: readonly Header[] } | undefined {
  if (head.method !== 'OPTIONS') return undefined;
  const origin = headerValue(head.headers, 'origin');
  const method = headerValue(head.headers, 'access-control-request-method');
  if (origin === undefined || method === undefined) return undefined;
  const vary: Header = ['vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'];
  if (!allowsOrigin(cors, origin)) return { status: 403, headers: [vary, ['content-length', '0']] };
  const requested = headerValue(head.headers, 'access-control-request-headers');
  const headers = sharedHeaders(cors, origin);
  pushList(headers, 'access-control-allow-methods', allowed(cors.allowMethods, method, cors));
  pushList(headers, 'access-control-allow-headers', allowed(cors.allowHeaders, requested, cors));
  headers.push(['access-control-max-age', String(cors.maxAgeSeconds)], vary);
  return { status: 204, headers };
}

/** The fields of a response with what the route says about its origin in place of what they said. */
export function shareResponse(
  cors: CorsFilter,
  headers: readonly Header[],
  request: RequestHead,
): readonly Header[] {
  const kept = headers.filter(([name]) => !ofTheRoute.has(name));
  const origin = headerValue(request.headers, 'origin');
  if (origin !== undefined && allowsOrigin(cors, origin)) kept.push(...sharedHeaders(cors, origin));
  if (!sharesWithAll(cors) && !variesByOrigin(kept)) kept.push(['vary', 'Origin']);
  return kept;
}

function sharedHeaders(cors: CorsFilter, origin: string): Header[] {
  const headers: Header[] = [['access-control-allow-origin', sharesWithAll(cors) ? '*' : origin]];
  if (cors.allowCredentials) headers.push(['access-control-allow-credentials', 'true']);
  // With credentials a browser takes `*` for a header's name, so the API forbids it.
  const exposed = cors.allowCredentials
    ? cors.exposeHeaders.filter((name) => name !== '*')
    : cors.exposeHeaders;
  pushList(headers, 'access-control-expose-headers', exposed.join(', '));
  return headers;
}

/** What is configured; a `*` with credentials stands for what was asked. */
function allowed(configured: readonly string[], requested: string | undefined, cors: CorsFilter): string {
  if (cors.allowCredentials && configured.includes('*')) return requested ?? '';
  return configured.join(', ');
}

function pushList(headers: Header[], name: string, list: string): void {
  if (list !== '') headers.push([name, list]);
}

/** The same answer for every origin, so that caches need not tell them apart. */
function sharesWithAll(cors: CorsFilter): boolean {
  return !cors.allowCredentials && cors.allowOrigins.includes('*');
}

function variesByOrigin(headers: readonly Header[]): boolean {
  return headers.some(([name, value]) => name === 'vary' && /(^|,)\s*(origin|\*)\s*(,|$)/i.test(value));
}

/** Of `Origin` as browsers write it: scheme, host and the port if it is not the scheme's own. `null` is in `*` only. */
export function allowsOrigin(cors: CorsFilter, origin: string): boolean {
  // No origin holds one; sent back it would mean every origin.
  if (origin.includes('*')) return false;
  if (cors.allowOrigins.includes(origin) || cors.allowOrigins.includes('*')) return true;
  const asked = parseOrigin(origin);
  if (asked === undefined) return false;
  return cors.allowOrigins.some((pattern) => {
    const known = parseOrigin(pattern);
    if (known === undefined || known.scheme !== asked.scheme || known.port !== asked.port) return false;
    return hostMatches(known.host, asked.host);
  });
}

interface Origin {
  readonly scheme: string;
  readonly host: string;
  readonly port: string;
}

function parseOrigin(text: string): Origin | undefined {
  const [, scheme, host, port] =
    /^(https?):\/\/(\[[0-9a-f:.]+\]|[^/:[\]@\s]+)(?::([0-9]{1,5}))?$/i.exec(text) ?? [];
  if (scheme === undefined || host === undefined) return undefined;
  const lower = scheme.toLowerCase();
  return { scheme: lower, host: host.toLowerCase(), port: port ?? (lower === 'https' ? '443' : '80') };
}

/** `*` stands for one or more characters at the left, dots included. */
function hostMatches(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*')) return pattern === host;
  return host.length >= pattern.length && host.endsWith(pattern.slice(1));
}
