// Query parameters as routes see them. A query is `name=value` pairs between `&`; escapes are decoded once (RFC 3986
// section 2.1) and `+` is a space, as HTML forms write it and practically every server reads it (WHATWG URL,
// application/x-www-form-urlencoded): a route must see what the application will. A literal plus is `%2B`.

/**
 * Value of the first parameter called `name`, which is what the Gateway API recommends for repeated ones; `''` for a
 * parameter without `=`; undefined if there is none. `query` has no `?`; both are octet strings. Nothing is kept.
 */
export function queryValue(query: string, name: string): string | undefined {
  for (let start = 0; start < query.length; ) {
    const next = query.indexOf('&', start);
    const end = next < 0 ? query.length : next;
    const equals = query.indexOf('=', start);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    if (isName(query, { start, end: nameEnd, name })) {
      return nameEnd === end ? '' : decodeQuery(query.slice(nameEnd + 1, end));
    }
    start = end + 1;
  }
  return undefined;
}

function isName(query: string, part: { start: number; end: number; name: string }): boolean {
  const { start, end, name } = part;
  const length = end - start;
  if (length < name.length || length === 0) return false;
  if (length === name.length && query.startsWith(name, start)) return true;
  return decodeQuery(query.slice(start, end)) === name;
}

/** Once; malformed escapes stay as they are. */
export function decodeQuery(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  return spaced.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}
