// Whether a request is one that a fault or a rate limit concerns.

import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { RequestCondition } from '../../mesh/model/traffic-policy.ts';

/** Every part that is set must hold; a path prefix ends at a segment, so `/api` covers `/api/x` and not `/apis`. */
export function meetsCondition(head: RequestHead, condition: RequestCondition | undefined): boolean {
  if (condition === undefined) return true;
  const { pathPrefix, methods, headers } = condition;
  if (pathPrefix !== undefined && !underPrefix(head.path, pathPrefix)) return false;
  if (methods.length > 0 && !methods.includes(head.method)) return false;
  for (const { name, value } of headers) if (!holdsHeader(head.headers, name, value)) return false;
  return true;
}

function holdsHeader(headers: readonly Header[], name: string, value: string): boolean {
  for (const header of headers) if (header[0] === name && header[1] === value) return true;
  return false;
}

/** @param path path and query, as in the request */
function underPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  if (prefix.endsWith('/') || path.length === prefix.length) return true;
  const next = path.charAt(prefix.length);
  return next === '/' || next === '?';
}
