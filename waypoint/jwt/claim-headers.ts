// What a verified token puts into the request for the application: claims and the payload in headers that nobody else
// can set, and the token itself gone unless it is to be forwarded.

import type { Claims } from '../../mesh/authz/http-facts.ts';
import type { Header } from '../../mesh/h2/header.ts';
import { hyphenated } from '../../mesh/http/field-names.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { JwtRule } from '../../mesh/model/request-authentication.ts';

/** Names of the headers that rules set, underscores as hyphens; whatever a client sends under them is removed, token or not. */
export function protectedHeaders(rules: readonly JwtRule[]): ReadonlySet<string> {
  const names = rules.flatMap(({ claimHeaders, payloadHeader }) => [
    ...claimHeaders.map(({ header }) => header),
    ...(payloadHeader === undefined ? [] : [payloadHeader]),
  ]);
  return new Set(names.map(hyphenated));
}

/**
 * The head without fields of these names. The same head if there are none. An underscore counts as a hyphen: many
 * applications see both as one (CGI, RFC 3875 section 4.1.18).
 */
export function withoutHeaders(head: RequestHead, names: ReadonlySet<string>): RequestHead {
  if (names.size === 0 || !head.headers.some(([name]) => names.has(hyphenated(name)))) return head;
  return { ...head, headers: head.headers.filter(([name]) => !names.has(hyphenated(name))) };
}

/** `token` is the verified text, whose middle part is the payload. */
export function claimHeaders(rule: JwtRule, token: string, claims: Claims): readonly Header[] {
  const headers: Header[] = [];
  for (const { claim, header } of rule.claimHeaders) {
    const value = headerText(claimAt(claims, claim));
    if (value !== undefined) headers.push([header, value]);
  }
  if (rule.payloadHeader !== undefined) headers.push([rule.payloadHeader, token.split('.')[1] ?? '']);
  return headers;
}

/** A claim may have dots in its name (`https://example.com/role`); otherwise dots lead into objects. */
function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Claims)[part];
  }
  return value;
}

/** As Envoy writes claims: plain values as text, lists and objects as base64url of their JSON. UTF-8, an octet a character. */
function headerText(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'object' && value !== null)
    return Buffer.from(JSON.stringify(value)).toString('base64url');
  if (typeof value !== 'string') return undefined;
  const octets = Buffer.from(value, 'utf8').toString('latin1');
  // A field value can not hold these (RFC 9110 section 5.5); half a value would be another one.
  return hasControl(octets) || octets.trim() !== octets ? undefined : octets;
}

function hasControl(octets: string): boolean {
  for (let i = 0; i < octets.length; i++) {
    const code = octets.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}
