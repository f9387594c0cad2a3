// HTTPRoute matches by path: exact ones in a map, prefixes and regular expressions in a tree of path elements.
// Precedence: exact, then regular expressions (the longest pattern first), then prefixes (the longest first). The Gateway
// API leaves the place of regular expressions open; before the prefixes they can carve an exception out of `/`.

import { normalizePath } from '../../mesh/http/path.ts';
import type { HttpMatch } from '../../mesh/model/routing.ts';
import type { Candidate, RouteFacts } from './candidate.ts';
import { CandidateIndex } from './candidate-index.ts';
import { PathTree } from './path-tree.ts';
import { literalPrefix, type Pattern, toOctets } from './pattern.ts';

export type PathKey =
  | { readonly kind: 'exact' | 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly value: string; readonly pattern: Pattern };

export interface PathCandidate extends Candidate {
  readonly path: PathKey;
}

/** What stands at a prefix: the matches of that prefix, and the patterns that can only match below it. */
interface Station {
  /** Of the prefix itself. */
  index: CandidateIndex | undefined;
  /** In order of precedence. */
  readonly patterns: PatternEntry[];
}

interface PatternEntry {
  readonly pattern: Pattern;
  /** Order of the first candidate. */
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

/** The elements every path that it matches begins with; `/` where they can not stand in a cookie. */
export function cookiePath(path: PathKey): string {
  const prefix = path.kind === 'regex' ? literalElements(path.value) : path.value;
  return /[;\s]/.test(prefix) ? '/' : prefix;
}

/** The whole elements that a regular expression begins with, without a slash at the end; `/` for none. */
function literalElements(pattern: string): string {
  const literal = literalPrefix(pattern);
  const end = literal.lastIndexOf('/');
  return end > 0 && literal[0] === '/' ? literal.slice(0, end) : '/';
}

export class PathTable {
  readonly #exact: ReadonlyMap<string, CandidateIndex>;
  readonly #tree = new PathTree<Station>();
  readonly #hasPatterns: boolean;

  /** `candidates` in order of precedence. */
  constructor(candidates: readonly PathCandidate[]) {
    const { exact = [], regex = [], prefix = [] } = Object.groupBy(candidates, ({ path }) => path.kind);
    const byPath = Map.groupBy(exact, ({ path }) => path.value);
    this.#exact = new Map([...byPath].map(([path, list]) => [path, new CandidateIndex(list)]));
    for (const [value, list] of Map.groupBy(regex, ({ path }) => path.value)) {
      this.#station(literalElements(value)).patterns.push(patternEntry(list));
    }
    for (const [value, list] of Map.groupBy(prefix, ({ path }) => path.value)) {
      this.#station(value).index = new CandidateIndex(list);
    }
    this.#hasPatterns = regex.length > 0;
  }

  find(facts: RouteFacts): Candidate | undefined {
    const exact = this.#exact.get(facts.path)?.find(facts, undefined);
    if (exact !== undefined) return exact;
    const stations = this.#tree.walk(facts.path);
    return (
      (this.#hasPatterns ? this.#findPattern(facts, stations) : undefined) ??
      this.#findPrefix(facts, stations)
    );
  }

  #findPattern(facts: RouteFacts, stations: number): Candidate | undefined {
    let best: Candidate | undefined;
    for (let at = 0; at < stations; at++) {
      for (const entry of this.#tree.met(at).patterns) {
        if (best !== undefined && entry.first > best.order) break;
        if (entry.pattern.matches(facts.path)) best = entry.index.find(facts, best);
      }
    }
    return best;
  }

  #findPrefix(facts: RouteFacts, stations: number): Candidate | undefined {
    for (let at = stations - 1; at >= 0; at--) {
      const found = this.#tree.met(at).index?.find(facts, undefined);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #station(prefix: string): Station {
    const node = this.#tree.plant(prefix);
    node.value ??= { index: undefined, patterns: [] };
    return node.value;
  }
}

function patternEntry(candidates: readonly PathCandidate[]): PatternEntry {
  const [first] = candidates as [PathCandidate];
  const { pattern } = first.path as Extract<PathKey, { kind: 'regex' }>;
  return { pattern, first: first.order, index: new CandidateIndex(candidates) };
}
