// The one reading of a request's path. Whoever takes a request in normalises its target once, before policies and routes
// look at it, and the normalised target is what goes on to the application: what was checked is what is served.
// Pure text work; the strings hold one octet a character.

/** Anything that may need work: an empty or dot segment, an escape, or what no path may hold. A plain path has none. */
const suspicious = /\/[/.]|[%#\\]|[^!-~]/;

/** An escape, a `%` that begins none, or an octet that has to be escaped (RFC 3986 section 3.3). */
const toNormalise = /%(?:[0-9A-Fa-f]{2})?|#|[^!-~]/g;

/** RFC 3986 section 2.3. */
const unreserved = /[A-Za-z0-9\-._~]/;

/**
 * A path without its query, in normal form (RFC 3986 section 6.2.2): escaped unreserved octets are decoded, other escapes
 * have upper-case digits, repeated slashes are one, dot segments are resolved (section 5.2.4). A backslash counts as a
 * slash, as browsers and the WHATWG URL parser of many applications read it. `%2F` stays: it is no separator (section
 * 2.2). A `%` that begins no escape becomes `%25`, or it could form one with what is decoded behind it; `#`, blanks,
 * controls and octets beyond ASCII are escaped, since URL parsers drop or escape them. What does not begin with `/` (`*`)
 * is returned unchanged. Idempotent.
 */
export function normalizePath(path: string): string {
  if (!suspicious.test(path) || (path[0] !== '/' && path[0] !== '\\')) return path;
  const decoded = path.replace(toNormalise, normalForm);
  const segments: string[] = [];
  let directory = true;
  for (const segment of decoded.split(/[/\\]/)) {
    directory = segment === '' || segment === '.' || segment === '..';
    if (!directory) segments.push(segment);
    else if (segment === '..') segments.pop();
  }
  return segments.length === 0 ? '/' : `/${segments.join('/')}${directory ? '/' : ''}`;
}

function normalForm(found: string): string {
  if (found.length === 1) return `%${found.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  const octet = String.fromCharCode(Number.parseInt(found.slice(1), 16));
  return unreserved.test(octet) ? octet : found.toUpperCase();
}

/** A request target with its path in normal form and its query as it was; the same string if nothing was to do. */
export function normalizeTarget(target: string): string {
  const end = pathEnd(target);
  if (end === target.length) return normalizePath(target);
  const path = target.slice(0, end);
  const normal = normalizePath(path);
  return normal === path ? target : normal + target.slice(end);
}

/** Where the path of a request target ends: the index of `?`, or its length. */
export function pathEnd(target: string): number {
  const at = target.indexOf('?');
  return at < 0 ? target.length : at;
}
