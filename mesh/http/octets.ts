// Which octets may stand where in an HTTP/1.1 message (RFC 9110 section 5, RFC 3986), as one table of bits, and the
// checks of whole strings that need it.

/** A token's octets: methods, field names, coding names (RFC 9110 section 5.6.2). */
export const TOKEN = 1;
/** Octets of a field value: visible, blank, or 0x80 and above (RFC 9110 section 5.5). */
export const VALUE = 2;
/** Octets of a request target: visible ASCII but `#`, which no target may hold (RFC 9112 section 3.2). */
export const TARGET = 4;
/** Octets of a host name: unreserved, percent-encoded, sub-delims (RFC 3986 section 3.2.2). */
const HOST = 8;
const HEX = 16;
const DIGIT = 32;
/** Inside the brackets of an IP literal. */
const IP_LITERAL = 64;

/**
 * Octets of a method as we take it: upper-case letters, `-`, `_`. RFC 9110 section 9.1 allows any token, but a server
 * that takes `get` for GET would undo a policy about GET; nobody registers other names.
 */
export const METHOD = 128;

export const OCTET = new Uint8Array(256);
/** A token's octet in lower case; 0 for octets that no token holds. */
export const TOKEN_LOWER = new Uint8Array(256);

function mark(octets: string, bits: number): void {
  for (let i = 0; i < octets.length; i++)
    OCTET[octets.charCodeAt(i)] = (OCTET[octets.charCodeAt(i)] as number) | bits;
}

const digits = '0123456789';
const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
mark(digits, DIGIT);
mark(`${digits}abcdefABCDEF`, HEX | IP_LITERAL);
mark(`${digits}${letters}!#$%&'*+-.^_\`|~`, TOKEN);
mark(`${digits}${letters}-._~!$&'()*+,;=%`, HOST);
mark(`${letters}:.-_~%`, IP_LITERAL);
mark('ABCDEFGHIJKLMNOPQRSTUVWXYZ-_', METHOD);
mark('\t', VALUE);
for (let octet = 0x20; octet < 0x100; octet++) {
  if (octet === 0x7f) continue;
  OCTET[octet] = (OCTET[octet] as number) | VALUE;
  if (octet > 0x20 && octet < 0x7f && octet !== 0x23) OCTET[octet] = (OCTET[octet] as number) | TARGET;
}
for (let octet = 0; octet < 0x80; octet++) {
  if (((OCTET[octet] as number) & TOKEN) === 0) continue;
  TOKEN_LOWER[octet] = octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet;
}

/** Position of the first octet from `start` on that has none of `bits`; there must be one. */
export function pastOctets(bytes: Buffer, start: number, bits: number): number {
  let at = start;
  while (((OCTET[bytes[at] as number] as number) & bits) !== 0) at++;
  return at;
}

/** Whether every character of `text` from `from` to `to` has one of `bits`. */
function all(
  text: string,
  bits: number,
  { from, to }: { readonly from: number; readonly to: number },
): boolean {
  for (let i = from; i < to; i++) {
    const char = text.charCodeAt(i);
    if (char > 0xff || ((OCTET[char] as number) & bits) === 0) return false;
  }
  return true;
}

/** A token of one character or more. */
export function isToken(text: string): boolean {
  return text.length > 0 && all(text, TOKEN, { from: 0, to: text.length });
}

/** A method of one character or more; see METHOD. */
export function isMethod(text: string): boolean {
  return text.length > 0 && all(text, METHOD, { from: 0, to: text.length });
}

/** A field value as it may go on the wire: no control octets, nothing above 0xff. */
export function isFieldValue(text: string): boolean {
  return all(text, VALUE, { from: 0, to: text.length });
}

/** Visible ASCII without `#`, one character or more. */
export function isTarget(text: string): boolean {
  return text.length > 0 && all(text, TARGET, { from: 0, to: text.length });
}

/**
 * `host` or `host:port` without user information (RFC 9110 section 4.2.4): a name, an IPv4 address or an IP literal in
 * brackets, not empty; the port, if any, 0 to 65535, possibly empty.
 */
export function isAuthority(text: string): boolean {
  let end: number;
  if (text.charCodeAt(0) === 0x5b) {
    end = text.indexOf(']') + 1;
    if (end < 4 || !all(text, IP_LITERAL, { from: 1, to: end - 1 })) return false;
  } else {
    const colon = text.indexOf(':');
    end = colon === -1 ? text.length : colon;
    if (end === 0 || !all(text, HOST, { from: 0, to: end }) || !percentsDecode(text)) return false;
  }
  if (end === text.length) return true;
  if (text.charCodeAt(end) !== 0x3a) return false;
  const digitsFrom = end + 1;
  return (
    text.length - digitsFrom <= 5 &&
    all(text, DIGIT, { from: digitsFrom, to: text.length }) &&
    Number(text.slice(digitsFrom)) <= 65_535
  );
}

function percentsDecode(text: string): boolean {
  for (let at = text.indexOf('%'); at !== -1; at = text.indexOf('%', at + 3)) {
    if (at + 2 >= text.length || !all(text, HEX, { from: at + 1, to: at + 3 })) return false;
  }
  return true;
}
