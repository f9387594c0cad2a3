// A request on its way from its head to its backend, with what the steps before found out.

import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { HttpFilter } from '../../mesh/model/routing.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { RequestFilterContext } from '../routing/request-filters.ts';
import type { RouteMatch } from '../routing/router.ts';
import type { Session } from '../routing/session-persistence.ts';
import type { Exchange } from './exchange.ts';

export interface Travel {
  readonly exchange: Exchange;
  match: RouteMatch | undefined;
  /** In force for the service that was asked. */
  settings: HttpTrafficPolicy | undefined;
  /** The request as it goes on: without headers that only verified tokens may set, then with theirs. */
  head: RequestHead;
  session: Session | undefined;
  /** On every answer. */
  extra: Header[];
}

export const noFilters: readonly HttpFilter[] = Object.freeze([]);

export function filterContext({ exchange }: Travel, { matchedPrefix }: RouteMatch): RequestFilterContext {
  return { matchedPrefix, port: exchange.client.servicePort, mirrors: exchange.world.mirrors };
}

/** A local reply frames itself. */
export function withoutLength(headers: readonly Header[]): readonly Header[] {
  return headers.filter(([name]) => name !== 'content-length');
}
