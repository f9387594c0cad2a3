// The matches that share a path (or a gRPC method), found without trying each: those with an exact header or query value
// are filed under it, so that a thousand rules on one path that differ by a header cost no more than ten.

import { type Candidate, type Condition, fieldValue, type RouteFacts, satisfies } from './candidate.ts';
import { queryValue } from './query.ts';

/** By name, then by the exact value. Lists are in order of precedence. */
type ValueIndex = Map<string, Map<string, Candidate[]>>;

export class CandidateIndex {
  readonly #plain: Candidate[] = [];
  readonly #headers: ValueIndex = new Map();
  readonly #headerNames: readonly string[];
  readonly #query: ValueIndex = new Map();
  readonly #queryNames: readonly string[];

  /** `candidates` in order of precedence, at least one. */
  constructor(candidates: readonly Candidate[]) {
    const headerSpread = spread(candidates, 'headers');
    const querySpread = spread(candidates, 'query');
    for (const candidate of candidates) {
      const header = mostSelective(candidate.headers, headerSpread);
      const query = mostSelective(candidate.query, querySpread);
      if (header !== undefined) file(this.#headers, header, candidate);
      else if (query !== undefined) file(this.#query, query, candidate);
      else if (!alwaysMatches(this.#plain.at(-1))) this.#plain.push(candidate);
    }
    this.#headerNames = [...this.#headers.keys()];
    this.#queryNames = [...this.#query.keys()];
  }

  /** The first candidate in order that matches and comes before `best`; else `best`. */
  find(facts: RouteFacts, best: Candidate | undefined): Candidate | undefined {
    let found = firstOf(this.#plain, facts, best);
    if (this.#headerNames.length > 0) found = this.#findByHeader(facts, found);
    if (facts.query !== '') {
      for (const name of this.#queryNames) {
        const value = queryValue(facts.query, name);
        if (value !== undefined) found = firstOf(this.#query.get(name)?.get(value), facts, found);
      }
    }
    return found;
  }

  /** Goes through the names of the rules or those of the request, whichever are fewer. */
  #findByHeader(facts: RouteFacts, best: Candidate | undefined): Candidate | undefined {
    let found = best;
    if (this.#headerNames.length <= facts.headers.length) {
      for (const name of this.#headerNames) found = this.#findByName(name, facts, found);
      return found;
    }
    found = this.#findByName('host', facts, found);
    for (const header of facts.headers) found = this.#findByName(header[0], facts, found);
    return found;
  }

  #findByName(name: string, facts: RouteFacts, best: Candidate | undefined): Candidate | undefined {
    const values = this.#headers.get(name);
    if (values === undefined) return best;
    const value = fieldValue(facts, name);
    return value === undefined ? best : firstOf(values.get(value), facts, best);
  }
}

function firstOf(
  candidates: readonly Candidate[] | undefined,
  facts: RouteFacts,
  best: Candidate | undefined,
): Candidate | undefined {
  if (candidates === undefined) return best;
  for (const candidate of candidates) {
    if (best !== undefined && candidate.order > best.order) return best;
    if (satisfies(candidate, facts)) return candidate;
  }
  return best;
}

function alwaysMatches(candidate: Candidate | undefined): boolean {
  if (candidate === undefined) return false;
  return candidate.method === undefined && candidate.headers.length === 0 && candidate.query.length === 0;
}

function file(index: ValueIndex, condition: Condition, candidate: Candidate): void {
  let values = index.get(condition.name);
  if (values === undefined) index.set(condition.name, (values = new Map()));
  const value = condition.exact as string;
  const list = values.get(value);
  if (list === undefined) values.set(value, [candidate]);
  else list.push(candidate);
}

/** How many different exact values each name has; the name with the most tells candidates apart best. */
function spread(candidates: readonly Candidate[], kind: 'headers' | 'query'): Map<string, number> {
  const values = new Map<string, Set<string>>();
  for (const candidate of candidates) {
    for (const { name, exact } of candidate[kind]) {
      if (exact === undefined) continue;
      const known = values.get(name);
      if (known === undefined) values.set(name, new Set([exact]));
      else known.add(exact);
    }
  }
  return new Map([...values].map(([name, set]) => [name, set.size]));
}

function mostSelective(
  conditions: readonly Condition[],
  counts: ReadonlyMap<string, number>,
): Condition | undefined {
  let best: Condition | undefined;
  for (const condition of conditions) {
    if (condition.exact === undefined) continue;
    if (best === undefined || (counts.get(condition.name) ?? 0) > (counts.get(best.name) ?? 0)) {
      best = condition;
    }
  }
  return best;
}
