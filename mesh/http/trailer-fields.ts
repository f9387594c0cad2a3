// Which fields may come behind a body. What frames, routes or secures a message, or says who sent it, was to be said
// before: late it is ignored (RFC 9110 section 6.5.1), as nobody has asked about it, and some readers merge both.

import type { Header } from '../h2/header.ts';
import { hyphenated } from './field-names.ts';

const forbidden = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'max-forwards',
  'proxy-authorization',
  'set-cookie',
  'te',
  'trailer',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
]);
const nothing: ReadonlySet<string> = new Set();

/** Those of `list` that may be passed on. @param alsoForbidden names in lower case with hyphens */
export function allowedTrailers(list: readonly Header[], alsoForbidden = nothing): Header[] {
  return list.filter(([name]) => {
    const known = hyphenated(name);
    return !forbidden.has(known) && !alsoForbidden.has(known);
  });
}
