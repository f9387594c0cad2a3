// Header modifier filters. Only fields that belong to the message's meaning can be edited: pseudo headers do not exist for
// the API, Host is the authority (the request filters' matter), and the fields that frame a message or belong to one
// connection stay what the connection made them, because a route that changed them would break the message.

import type { Header } from '../../mesh/h2/header.ts';
import type { HeaderEdit } from '../../mesh/model/routing.ts';
import { toOctets } from './pattern.ts';

/** RFC 9110 section 7.6.1, and what delimits a message (RFC 9112 section 6). */
const untouchable = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** RFC 9110 section 5.5: these end a field line or a string elsewhere. */
const forbiddenInValue = /[\0\r\n]/;

/** Applies set, add and remove; the list itself is not changed. What can not be edited is passed over. */
export function editHeaders(headers: readonly Header[], edit: HeaderEdit): readonly Header[] {
  const dropped = new Set<string>();
  for (const name of edit.remove) if (isEditable(name)) dropped.add(name);
  for (const [name, value] of edit.set) if (isUsable(name, value)) dropped.add(name);
  const list = dropped.size === 0 ? [...headers] : headers.filter(([name]) => !dropped.has(name));
  for (const [name, value] of edit.set) if (isUsable(name, value)) list.push([name, toOctets(value)]);
  for (const [name, value] of edit.add) if (isUsable(name, value)) addHeader(list, name, toOctets(value));
  return list;
}

/**
 * Appends to the field, in one line as the API shows it (`foo,bar`); RFC 9110 section 5.3. Set-Cookie can not be combined
 * and gets a line of its own, cookies are combined by a semicolon (RFC 6265 section 4.2.1).
 */
export function addHeader(list: Header[], name: string, value: string): void {
  const at = name === 'set-cookie' ? -1 : list.findLastIndex((header) => header[0] === name);
  if (at < 0) list.push([name, value]);
  else list[at] = [name, `${(list[at] as Header)[1]}${name === 'cookie' ? '; ' : ','}${value}`];
}

function isUsable(name: string, value: string): boolean {
  return isEditable(name) && !forbiddenInValue.test(value);
}

function isEditable(name: string): boolean {
  return name !== '' && name[0] !== ':' && !untouchable.has(name);
}

/** What the edit makes of the authority: a `host` that is set replaces it; it can not be removed or added to. */
export function editAuthority(authority: string, edit: HeaderEdit): string {
  for (const [name, value] of edit.set) if (name === 'host' && isAuthority(value)) return value;
  return authority;
}

/** No white space, no path, no user information, nothing that ends a line (RFC 9110 section 7.2). */
function isAuthority(value: string): boolean {
  return /^[A-Za-z0-9\-._~!$&'()*+,;=:[\]%]+$/.test(value);
}
