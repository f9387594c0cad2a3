// What ring hash and Maglev look up for a request: the hash of a header, of a cookie or of the client's address.

import { hashText } from '../../mesh/balance/text-hash.ts';
import { headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { HashKey } from '../../mesh/model/traffic-policy.ts';

export interface RequestHash {
  /** For PickRequest.hash; undefined: the request has no key and goes anywhere. */
  readonly hash: number | undefined;
  /** A Set-Cookie value for the response: the client had none and the policy gives it one. */
  readonly setCookie: string | undefined;
}

const none: RequestHash = Object.freeze({ hash: undefined, setCookie: undefined });

/**
 * @param client.sourceIp of the original client
 * @param client.random uniform in [0, 1): the value of a new cookie
 */
export function requestHash(
  key: HashKey | undefined,
  head: RequestHead,
  client: { readonly sourceIp: string; readonly random: () => number },
): RequestHash {
  if (key === undefined) return none;
  switch (key.kind) {
    case 'source':
      return { hash: hashText(client.sourceIp), setCookie: undefined };
    case 'header': {
      const value = headerValue(head.headers, key.name);
      return value === undefined ? none : { hash: hashText(value), setCookie: undefined };
    }
    case 'cookie':
      return cookieHash(key, head, client.random);
  }
}

function cookieHash(
  { name, ttlMs }: Extract<HashKey, { kind: 'cookie' }>,
  head: RequestHead,
  random: () => number,
): RequestHash {
  const known = cookieValue(head, name);
  if (known !== undefined && known !== '') return { hash: hashText(known), setCookie: undefined };
  if (ttlMs === undefined) return none;
  const value = Array.from({ length: 4 }, () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0'),
  ).join('');
  // RFC 6265 section 5.2.2: no Max-Age is a cookie of the browser's session.
  const age = ttlMs === 0 ? '' : `; Max-Age=${Math.max(1, Math.ceil(ttlMs / 1_000))}`;
  return { hash: hashText(value), setCookie: `${name}=${value}; Path=/; HttpOnly${age}` };
}

/** The first cookie of that name (RFC 6265 section 5.4); HTTP/2 may send several Cookie fields. */
export function cookieValue(head: RequestHead, name: string): string | undefined {
  for (const [field, value] of head.headers) {
    if (field !== 'cookie') continue;
    for (const pair of value.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
