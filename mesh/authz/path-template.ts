// A path with operators, as Istio's AuthorizationPolicy has them: `{*}` is exactly one segment and never empty, `{**}` is
// any text, also none, and the last operator. Both stand for whole segments. Matching is linear in the path.

const one = '{*}';
const any = '{**}';

export class PathTemplate {
  /** Segments up to `{**}` or the end; undefined is `{*}`. */
  readonly #head: readonly (string | undefined)[];
  /** What must follow `{**}`; undefined without it. */
  readonly #tail: string | undefined;

  /** @param template passed `templateFault` */
  constructor(template: string) {
    const at = template.indexOf(any);
    const head = at === -1 ? template : template.slice(0, at);
    this.#tail = at === -1 ? undefined : template.slice(at + any.length);
    this.#head = head.split('/').map((segment) => (segment === one ? undefined : segment));
  }

  accepts(path: string): boolean {
    const last = this.#head.length - 1;
    let at = 0;
    for (let i = 0; i < last; i++) {
      const slash = path.indexOf('/', at);
      if (slash === -1 || !segmentFits(this.#head[i], path, { start: at, end: slash })) return false;
      at = slash + 1;
    }
    // Before `{**}` the last piece is what stands between its slash and the operator: nothing.
    if (this.#tail !== undefined) return path.length - at >= this.#tail.length && path.endsWith(this.#tail);
    const rest = { start: at, end: path.length };
    return path.indexOf('/', at) === -1 && segmentFits(this.#head[last], path, rest);
  }
}

function segmentFits(
  wanted: string | undefined,
  path: string,
  { start, end }: { start: number; end: number },
): boolean {
  if (wanted === undefined) return end > start;
  return end - start === wanted.length && path.startsWith(wanted, start);
}

export function isTemplate(path: string): boolean {
  return path.includes('{') || path.includes('}');
}

/** What every matching path begins with. */
export function literalPrefix(template: string): string {
  const at = template.indexOf('{');
  return at === -1 ? template : template.slice(0, at);
}

/** A sentence that says what is wrong with the template; undefined if it can be used. */
export function templateFault(template: string): string | undefined {
  if (!template.startsWith('/')) return `"${template}" is no path template: it must start with "/"`;
  const segments = template.slice(1).split('/');
  const odd = segments.find((segment) => segment !== one && segment !== any && /[{}*]/.test(segment));
  if (odd !== undefined)
    return `"${template}" is no path template: "${odd}" must be {*} or {**} alone, or have none of "{", "}" and "*"`;
  const wide = segments.indexOf(any);
  if (wide !== -1 && segments.slice(wide + 1).some((segment) => segment === one || segment === any))
    return `"${template}" is no path template: {**} must be the last operator`;
  return undefined;
}
