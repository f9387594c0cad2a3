// Values of the L7 fields of an authorization rule to what the engine compares. A value that could never match as it is
// written (a path with a query, a host with a port) is no value: it is reported like any other that cannot be used.

import { isTemplate, templateFault } from '../../mesh/authz/path-template.ts';
import { normalizePath } from '../../mesh/http/path.ts';
import type { PathMatch, StringMatch } from '../../mesh/model/authorization.ts';

/** `*` any non-empty text, `a*` and `*a` prefix and suffix, everything else exact; or a sentence that says what is wrong. */
export function parseText(text: string): StringMatch | string {
  if (text === '*') return { kind: 'presence' };
  const inner = text.slice(1, -1);
  if (inner.includes('*') || (text.startsWith('*') && text.endsWith('*'))) {
    return `"${text}" is no pattern: "*" may stand at the start or at the end, not in the middle or at both`;
  }
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  return text === '' ? 'An empty text matches nothing' : { kind: 'exact', value: text };
}

export function parseHost(text: string): StringMatch | string {
  if (/:\d*\*?$/.test(text) && !text.endsWith(']'))
    return `"${text}" has a port; hosts are compared without, use ports beside hosts`;
  if (text.includes('/')) return `"${text}" is no host`;
  if (/[^!-~]/.test(text)) return `"${text}" is no host as it is sent: write it in ASCII (xn--)`;
  return parseText(text.toLowerCase().replace(/\.$/, ''));
}

export function parseMethod(text: string): StringMatch | string {
  if (/[a-z]/.test(text)) return `"${text}" is no method: methods are in upper case`;
  return parseText(text);
}

/** In the normal form of mesh/http/path.ts; what is not ASCII is escaped as clients send it. */
export function parsePath(written: string): PathMatch | string {
  const text = written.replace(/[^\0-\x7f]+/g, encodeURIComponent);
  if (/[?#]/.test(text)) return `"${text}" is no path: paths are compared without the query`;
  if (isTemplate(text)) {
    const fault = templateFault(text);
    if (fault !== undefined) return fault;
    return normalised(text, text.replaceAll(/\{\*\*?\}/g, 'x')) ?? { kind: 'template', value: text };
  }
  const match = parseText(text);
  if (typeof match === 'string' || match.kind === 'presence') return match;
  // What stands before or behind is not known; a letter shows whether its own part is in normal form.
  if (match.kind === 'suffix') return normalised(text, `/x${match.value}`) ?? match;
  if (!match.value.startsWith('/')) return `"${text}" is no path: it must start with "/" or "*"`;
  return normalised(text, match.kind === 'prefix' ? `${match.value}x` : match.value) ?? match;
}

/** What is wrong with a pattern of which `path` is an example. */
function normalised(text: string, path: string): string | undefined {
  const normal = normalizePath(path);
  if (normal === path) return undefined;
  return `"${text}" never matches: paths are compared in normal form, "${path}" as "${normal}"`;
}

/** Field values are octets, one a character; others are sent as UTF-8. */
export function parseHeaderValue(text: string): StringMatch | string {
  return parseText(Buffer.from(text, 'utf8').toString('latin1'));
}

/** A header's name in lower case, or a sentence. The brackets of `request.headers[NAME]` are off. */
export function parseHeaderName(name: string): { readonly name: string } | string {
  const lower = name.toLowerCase();
  if (lower === 'host' || lower.startsWith(':'))
    return `"${name}" is no header that rules compare: use hosts, methods or paths`;
  return { name: lower };
}
