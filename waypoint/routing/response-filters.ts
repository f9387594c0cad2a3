// What the filters of a rule, then those of the chosen backend, make of a response head. Also of answers the waypoint
// gives itself once a rule is chosen, so that a page can read an error from another origin.

import type { RequestHead, ResponseHead } from '../../mesh/http/message.ts';
import type { HttpFilter } from '../../mesh/model/routing.ts';
import { shareResponse } from './cors.ts';
import { editHeaders } from './header-edit.ts';

/** `request` is the head as the client sent it, before request filters. Not for 1xx. */
export function applyResponseFilters(
  filters: readonly HttpFilter[],
  head: ResponseHead,
  request: RequestHead,
): ResponseHead {
  let current = head;
  for (const filter of filters) {
    if (filter.kind === 'response-headers') {
      current = { ...current, headers: editHeaders(current.headers, filter) };
    } else if (filter.kind === 'cors') {
      current = { ...current, headers: shareResponse(filter, current.headers, request) };
    }
  }
  return current;
}
