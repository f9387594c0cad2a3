// Whether a received header list is well formed (RFC 9113 sections 8.1 to 8.3 and 8.5, RFC 8441).
// Returns the reason instead of throwing: a malformed message ends its stream, never the connection.

import { type Header, headerValue } from './header.ts';

/** Octets of a field name: visible ASCII except upper case and colon (RFC 9113 section 8.2.1). */
const NAME_OCTET = new Uint8Array(256);
for (let octet = 0x21; octet < 0x7f; octet += 1) {
  NAME_OCTET[octet] = octet === 0x3a || (octet >= 0x41 && octet <= 0x5a) ? 0 : 1;
}

/** Fields of HTTP/1.1 connections, meaningless and dangerous here (RFC 9113 section 8.2.2). */
const CONNECTION_FIELDS = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

const REQUEST_PSEUDO = new Set([':method', ':scheme', ':authority', ':path', ':protocol']);
const RESPONSE_PSEUDO = new Set([':status']);
const NO_PSEUDO: ReadonlySet<string> = new Set();

/** Why a request's headers are malformed; undefined if they are fine. */
export function requestFault(
  headers: readonly Header[],
  options: { readonly enableConnectProtocol: boolean },
): string | undefined {
  const fault = fieldsFault(headers, REQUEST_PSEUDO);
  if (fault !== undefined) return fault;
  const method = headerValue(headers, ':method');
  const scheme = headerValue(headers, ':scheme');
  const path = headerValue(headers, ':path');
  const authority = headerValue(headers, ':authority');
  const protocol = headerValue(headers, ':protocol');
  if (method === undefined || method === '') return 'no :method';
  if (protocol !== undefined && (!options.enableConnectProtocol || method !== 'CONNECT'))
    return ':protocol not allowed';
  if (method === 'CONNECT' && protocol === undefined) {
    // RFC 9113 section 8.5: the target is the authority and nothing else.
    if (scheme !== undefined || path !== undefined) return ':scheme or :path on CONNECT';
    return authority === undefined || authority === '' ? 'CONNECT without :authority' : undefined;
  }
  if (scheme === undefined || scheme === '') return 'no :scheme';
  if (path === undefined) return 'no :path';
  return targetFault({ method, scheme, path, authority, host: headerValue(headers, 'host') });
}

/** RFC 9113 section 8.3.1: what :path, :authority and Host may hold. */
function targetFault(target: {
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  readonly authority: string | undefined;
  readonly host: string | undefined;
}): string | undefined {
  const { scheme, path, authority, host } = target;
  if (scheme !== 'http' && scheme !== 'https') return undefined;
  if (!path.startsWith('/') && !(path === '*' && target.method === 'OPTIONS'))
    return ':path does not start with "/"';
  if (authority?.includes('@')) return 'user information in :authority';
  if (authority !== undefined && host !== undefined && host.toLowerCase() !== authority.toLowerCase()) {
    return 'host differs from :authority';
  }
  return undefined;
}

/** Why a response's headers are malformed; undefined if they are fine. */
export function responseFault(headers: readonly Header[]): string | undefined {
  const fault = fieldsFault(headers, RESPONSE_PSEUDO);
  if (fault !== undefined) return fault;
  const status = headerValue(headers, ':status');
  if (status === undefined || !/^[1-9][0-9]{2}$/.test(status)) return 'no three-digit :status';
  // RFC 9113 section 8.6: there is no upgrade in HTTP/2.
  return status === '101' ? ':status 101' : undefined;
}

/** Why trailers are malformed; undefined if they are fine. */
export function trailersFault(headers: readonly Header[]): string | undefined {
  return fieldsFault(headers, NO_PSEUDO);
}

/** The content-length, -1 if there is none, undefined if it is no number or given twice with different values. */
export function contentLength(headers: readonly Header[]): number | undefined {
  let found: string | undefined;
  for (const [name, value] of headers) {
    if (name !== 'content-length') continue;
    if (!/^[0-9]{1,15}$/.test(value) || (found !== undefined && found !== value)) return undefined;
    found = value;
  }
  return found === undefined ? -1 : Number(found);
}

function fieldsFault(headers: readonly Header[], pseudo: ReadonlySet<string>): string | undefined {
  let regular = false;
  for (let i = 0; i < headers.length; i += 1) {
    const [name, value] = headers[i] as Header;
    if (name.charCodeAt(0) === 0x3a) {
      if (regular) return `pseudo header "${name}" after a regular one`;
      if (!pseudo.has(name)) return `unexpected pseudo header "${name}"`;
      for (let j = 0; j < i; j += 1) if ((headers[j] as Header)[0] === name) return `"${name}" twice`;
    } else {
      regular = true;
      const fault = regularFault(name, value);
      if (fault !== undefined) return fault;
    }
    if (!validValue(value)) return `value of "${name}" holds a forbidden character`;
  }
  return undefined;
}

function regularFault(name: string, value: string): string | undefined {
  if (name.length === 0) return 'empty field name';
  for (let i = 0; i < name.length; i += 1) {
    if (NAME_OCTET[name.charCodeAt(i)] !== 1) return 'forbidden character in a field name';
  }
  if (CONNECTION_FIELDS.has(name)) return `connection field "${name}"`;
  return name === 'te' && value !== 'trailers' ? 'te other than "trailers"' : undefined;
}

/** RFC 9113 section 8.2.1: no NUL, CR, LF, and no white space at either end. */
function validValue(value: string): boolean {
  const length = value.length;
  if (length === 0) return true;
  if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(length - 1))) return false;
  for (let i = 0; i < length; i += 1) {
    const char = value.charCodeAt(i);
    if (char === 0 || char === 10 || char === 13) return false;
  }
  return true;
}

function isBlank(char: number): boolean {
  return char === 0x20 || char === 0x09;
}
