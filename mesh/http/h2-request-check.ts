// What HTTP/2 allows in a request and HTTP/1.1 does not: refused at the door, so that a request means the same and can
// be sent on in either version. Also makes Host and :authority one.

import { type Header, headerValue } from '../h2/header.ts';
import { fault, type HttpFault } from './http-error.ts';
import { isAuthority, isFieldValue, isMethod, isTarget, isToken } from './octets.ts';

const maxKnownNames = 1024;
const tokens = new Set<string>();

/** The list in the form of stream.ts, or why it is refused. The session has checked it as RFC 9113 section 8 says. */
export function checkH2Request(list: readonly Header[], maxFields: number): readonly Header[] | HttpFault {
  const method = headerValue(list, ':method') ?? '';
  if (method === 'CONNECT') return fault(501, 'CONNECT');
  if (!isMethod(method)) return fault(400, 'the method holds a forbidden octet');
  if (!isTarget(headerValue(list, ':path') ?? '')) return fault(400, ':path holds a forbidden octet');
  if (list.length > maxFields) return fault(431, `more than ${maxFields} fields`);
  let hosts = 0;
  for (const [name, value] of list) {
    if (name === 'host') hosts++;
    if (!isFieldValue(value)) return fault(400, 'a field value holds a control octet');
    if (name.charCodeAt(0) !== 0x3a && !isKnownToken(name)) return fault(400, 'a field name is no token');
  }
  const host = headerValue(list, 'host');
  const authority = headerValue(list, ':authority') ?? host;
  if (authority === undefined || !isAuthority(authority)) return fault(400, 'no :authority of host and port');
  if (hosts > 1) return fault(400, 'more than one Host');
  const expect = headerValue(list, 'expect');
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    return fault(417, 'an expectation other than 100-continue');
  }
  if (hosts === 0) return list;
  const rest = list.filter(([name]) => name !== 'host' && name !== ':authority');
  return [[':authority', authority], ...rest];
}

function isKnownToken(name: string): boolean {
  if (tokens.has(name)) return true;
  if (!isToken(name)) return false;
  if (tokens.size < maxKnownNames && name.length <= 64) tokens.add(name);
  return true;
}
