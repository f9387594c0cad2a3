// HTTPRoute matches by path: exact ones in a map, prefixes in a tree of path elements, regular expressions in a list.
// Precedence: exact, then regular expressions (the longest pattern first), then prefixes (the longest first). The Gateway
// API leaves the place of regular expressions open; before the prefixes they can carve an exception out of `/`.

import type { HttpMatch } from '../../mesh/model/routing.ts';
import { normalizePath } from '../../mesh/http/path.ts';
import type { Candidate, RouteFacts } from './candidate.ts';
import { CandidateIndex } from './candidate-index.ts';
import { literalPrefix, type Pattern, toOctets } from './pattern.ts';

export type PathKey =
  | { readonly kind: 'exact' | 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string; readonly pattern: Pattern };

export interface PathCandidate extends Candidate {
  readonly path: PathKey;
}

interface PrefixNode {
  readonly children: Map<string, PrefixNode>;
  readonly candidates: PathCandidate[];
  index: CandidateIndex | undefined;
}

interface PatternEntry {
  readonly pattern: Pattern;
  readonly first: number;
  readonly index: CandidateIndex;
}

/** The value of a match in normal form, a prefix without its trailing slash, which does not count (Gateway API). */
export function normalPathValue(path: HttpMatch['path']): string {
  if (path === undefined) return '/';
  if (path.kind === 'regex') return path.value;
  const normal = normalizePath(toOctets(path.value));
  return path.kind === 'prefix' && normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** The leading numbers of a rank: what kind of path, and how long. */
export function pathRank(path: PathKey): readonly [kind: number, length: number] {
  if (path.kind === 'exact') return [2, 0];
  return [path.kind === 'regex' ? 1 : 0, path.value.length];
}

/** The elements of a path that every request it matches begins with; `/` where they can not stand in a cookie. */
export function cookiePath(path: PathKey): string {
  if (path.kind !== 'regex') return path.value.includes(';') ? '/' : path.value;
  const literal = literalPrefix(path.value);
  return /^\/[^;\s]+\//.test(literal) ? literal.slice(0, literal.lastIndexOf('/')) : '/';
}

export class PathTable {
  readonly #exact: ReadonlyMap<string, CandidateIndex>;
  readonly #patterns: readonly PatternEntry[];
  readonly #root: PrefixNode = newNode();
  /** Indexes on the way down to the longest prefix; kept to spare an array a request. */
  readonly #path: CandidateIndex[] = [];

  /** `candidates` in order of precedence. */
  constructor(candidates: readonly PathCandidate[]) {
    const exact = candidates.filter(({ path }) => path.kind === 'exact');
    this.#exact = new Map(
      [...Map.groupBy(exact, ({ path }) => path.value)].map(([path, list]) => [
        path,
        new CandidateIndex(list),
      ]),
    );
    const regex = candidates.filter(({ path }) => path.kind === 'regex');
    this.#patterns = [...Map.groupBy(regex, ({ path }) => path.value).values()].map(patternEntry);
    for (const candidate of candidates) if (candidate.path.kind === 'prefix') this.#plant(candidate);
    seal(this.#root);
  }

  find(facts: RouteFacts): Candidate | undefined {
    const exact = this.#exact.get(facts.path)?.find(facts, undefined);
    if (exact !== undefined) return exact;
    return this.#findPattern(facts) ?? this.#findPrefix(facts);
  }

  #findPattern(facts: RouteFacts): Candidate | undefined {
    let best: Candidate | undefined;
    for (const entry of this.#patterns) {
      if (best !== undefined && entry.first > best.order) break;
      if (entry.pattern.matches(facts.path)) best = entry.index.find(facts, best);
    }
    return best;
  }

  #findPrefix(facts: RouteFacts): Candidate | undefined {
    const { path } = facts;
    let node: PrefixNode | undefined = this.#root;
    let depth = 0;
    for (let start = 1; node !== undefined; ) {
      if (node.index !== undefined) this.#path[depth++] = node.index;
      if (node.children.size === 0 || start >= path.length) break;
      const slash = path.indexOf('/', start);
      const end = slash < 0 ? path.length : slash;
      node = node.children.get(path.slice(start, end));
      start = end + 1;
    }
    while (depth > 0) {
      const found = (this.#path[--depth] as CandidateIndex).find(facts, undefined);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #plant(candidate: PathCandidate): void {
    let node = this.#root;
    const elements = candidate.path.value === '/' ? [] : candidate.path.value.slice(1).split('/');
    for (const element of elements) {
      let child = node.children.get(element);
      if (child === undefined) node.children.set(element, (child = newNode()));
      node = child;
    }
    node.candidates.push(candidate);
  }
}

function patternEntry(candidates: readonly PathCandidate[]): PatternEntry {
  const [first] = candidates as [PathCandidate];
  const { pattern } = first.path as Extract<PathKey, { kind: 'regex' }>;
  return { pattern, first: first.order, index: new CandidateIndex(candidates) };
}

function newNode(): PrefixNode {
  return { children: new Map(), candidates: [], index: undefined };
}

/** Not recursive: a path may have as many elements as characters. */
function seal(root: PrefixNode): void {
  const open = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (node.candidates.length > 0) node.index = new CandidateIndex(node.candidates);
    open.push(...node.children.values());
  }
}
