// What the filters of a rule, then those of the chosen backend, make of a request: they change its head, answer it, or
// name what must be asked (external authorization) and told (mirrors) about it. In the order the route lists them.

import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type {
  CorsFilter,
  ExternalAuthFilter,
  HttpFilter,
  MirrorFilter,
  RedirectFilter,
  RewriteFilter,
} from '../../mesh/model/routing.ts';
import { answerPreflight } from './cors.ts';
import { editAuthority, editHeaders } from './header-edit.ts';
import type { MirrorSampler } from './mirror-sampler.ts';
import { editTarget, hostOf } from './path-edit.ts';

export interface RequestFilterContext {
  /** Of the RouteMatch; the backend's filters get the same. */
  readonly matchedPrefix: string | undefined;
  /** The port the client dialled: the service's port, which is the listener's for redirects (GEP-1294). */
  readonly port: number;
  readonly mirrors: MirrorSampler;
}

export type FilteredRequest =
  | {
      readonly kind: 'forward';
      /** The head that was given if nothing changed. */
      readonly head: RequestHead;
      /** Those whose fraction took this request; they get the forwarded head. A target may be `invalid`. */
      readonly mirrors: readonly MirrorFilter[];
      /** Must all agree before anything is forwarded. */
      readonly externalAuth: readonly ExternalAuthFilter[];
      /** Concerns the response, see applyResponseFilters. */
      readonly cors: CorsFilter | undefined;
    }
  | {
      readonly kind: 'respond';
      readonly status: number;
      readonly headers: readonly Header[];
      /** Stand before the filter that answers, so they must agree first; none for a preflight, which carries no credentials. */
      readonly externalAuth: readonly ExternalAuthFilter[];
    };

const none: readonly never[] = Object.freeze([]);

/** `head.path` has been through `normalizeTarget`. */
export function applyRequestFilters(
  filters: readonly HttpFilter[],
  head: RequestHead,
  context: RequestFilterContext,
): FilteredRequest {
  if (filters.length === 0)
    return { kind: 'forward', head, mirrors: none, externalAuth: none, cors: undefined };
  let current = head;
  const mirrors: MirrorFilter[] = [];
  const externalAuth: ExternalAuthFilter[] = [];
  let cors: CorsFilter | undefined;
  for (const filter of filters) {
    if (filter.kind === 'redirect') {
      return { kind: 'respond', ...redirect(filter, current, context), externalAuth };
    }
    if (filter.kind === 'cors') {
      const preflight = answerPreflight(filter, head);
      if (preflight !== undefined) return { kind: 'respond', ...preflight, externalAuth: none };
      cors = filter;
    } else if (filter.kind === 'mirror') {
      if (context.mirrors.takes(filter)) mirrors.push(filter);
    } else if (filter.kind === 'external-auth') externalAuth.push(filter);
    else current = change(filter, current, context);
  }
  return { kind: 'forward', head: current, mirrors, externalAuth, cors };
}

function change(filter: HttpFilter, head: RequestHead, context: RequestFilterContext): RequestHead {
  if (filter.kind === 'request-headers') {
    const authority = editAuthority(head.authority, filter);
    return { ...head, authority, headers: editHeaders(head.headers, filter) };
  }
  return filter.kind === 'rewrite' ? rewrite(filter, head, context) : head;
}

function rewrite(filter: RewriteFilter, head: RequestHead, context: RequestFilterContext): RequestHead {
  const path =
    filter.path === undefined ? head.path : editTarget(head.path, filter.path, context.matchedPrefix);
  return { ...head, authority: filter.hostname ?? head.authority, path };
}

const wellKnownPort = { http: 80, https: 443 } as const;

/** HTTPRequestRedirectFilter: the port is the filter's, else that of the filter's scheme, else the one that was dialled. */
function redirect(
  filter: RedirectFilter,
  head: RequestHead,
  context: RequestFilterContext,
): { readonly status: number; readonly headers: readonly Header[] } {
  const scheme = filter.scheme ?? head.scheme;
  const port = filter.port ?? (filter.scheme === undefined ? context.port : wellKnownPort[scheme]);
  const host = filter.hostname ?? hostOf(head.authority);
  const target =
    filter.path === undefined ? head.path : editTarget(head.path, filter.path, context.matchedPrefix);
  const suffix = port === wellKnownPort[scheme] ? '' : `:${port}`;
  // `OPTIONS *` has no path; a request without Host (HTTP/1.0) can only be given a relative reference.
  const path = target === '*' ? '/' : target;
  const location = host === '' ? path : `${scheme}://${host}${suffix}${path}`;
  return {
    status: filter.status,
    headers: [
      ['location', location],
      ['content-length', '0'],
    ],
  };
}
