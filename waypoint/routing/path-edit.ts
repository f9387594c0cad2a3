// What rewrites and redirects do to a request target and an authority: replaced paths, replaced prefixes, hosts without
// their port. Replacements come from routes, so whatever may not stand in a path is escaped (RFC 3986 section 3.3).

import { pathEnd } from '../../mesh/http/path.ts';
import type { PathEdit } from '../../mesh/model/routing.ts';

/** The target with its path edited and its query kept. `matchedPrefix` is that of the match, see RouteMatch. */
export function editTarget(target: string, edit: PathEdit, matchedPrefix: string | undefined): string {
  const end = pathEnd(target);
  const path = target.slice(0, end);
  const edited =
    edit.kind === 'full' ? absolutePath(edit.value) : replacePrefix(path, edit.value, matchedPrefix);
  return edited + target.slice(end);
}

/**
 * HTTPPathModifier.replacePrefixMatch: element by element, slashes at the end of either prefix do not count, and what is
 * left is never empty. A path that does not begin with the prefix (another filter replaced it) stays.
 */
function replacePrefix(path: string, replacement: string, matchedPrefix: string | undefined): string {
  if (matchedPrefix === undefined) return path;
  const prefix = matchedPrefix === '/' ? '' : matchedPrefix;
  const rest = path.slice(prefix.length);
  if (!path.startsWith(prefix) || (rest !== '' && rest[0] !== '/')) return path;
  const base = absolutePath(replacement);
  return (base.endsWith('/') ? base.slice(0, -1) : base) + rest || '/';
}

/** Everything but the characters of a path and escapes that are complete. */
const notOfPath = /%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]/gu;

function absolutePath(value: string): string {
  const escaped = value.replace(notOfPath, (char) =>
    [...Buffer.from(char, 'utf8')]
      .map((octet) => `%${octet.toString(16).toUpperCase()}`.replace(/^%(.)$/, '%0$1'))
      .join(''),
  );
  return escaped.startsWith('/') ? escaped : `/${escaped}`;
}

/** Host of an authority without its port; an IPv6 address keeps its brackets. */
export function hostOf(authority: string): string {
  const at = authority.lastIndexOf(':');
  return at < 0 || authority.indexOf(']', at) >= 0 ? authority : authority.slice(0, at);
}
