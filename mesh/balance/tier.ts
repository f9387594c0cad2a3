// Endpoints of equal rank: what is computed once a change of them (weights, hash tables) and what picking among them
// remembers (turns, credit, probes). Built for one query of one service; a new list has new tiers.

import type { Candidate } from './endpoint-list.ts';
import { buildMaglev, buildRing, type HashTable } from './hash-table.ts';

export class Tier {
  readonly candidates: readonly Candidate[];
  /** Running sum of the weights; undefined if all are equal. */
  readonly cumulative: Float64Array | undefined;
  readonly totalWeight: number;
  /** The same with the endpoints that are not healthy. */
  readonly knownWeight: number;
  /** When the youngest endpoint came. */
  readonly youngestSince: number;
  /** Credit of each candidate in smooth weighted round robin. */
  readonly credit: Float64Array;
  /** Next index in plain round robin. */
  turn = 0;
  /** Next index that is asked whether it had traffic lately, and picks since one had not. */
  probeTurn = 0;
  picksSinceProbe = 0;
  /** Share of the requests this tier takes while others may take the rest; as of `availableAt`. */
  availability = 1;
  availableAt = Number.NEGATIVE_INFINITY;
  #ring: HashTable | undefined;
  #maglev: HashTable | undefined;

  constructor(candidates: readonly Candidate[], options: { readonly knownWeight: number }) {
    this.candidates = candidates;
    this.knownWeight = options.knownWeight;
    const cumulative = new Float64Array(candidates.length);
    let totalWeight = 0;
    let youngestSince = Number.NEGATIVE_INFINITY;
    let equal = true;
    for (const [i, { weight, since }] of candidates.entries()) {
      totalWeight += weight;
      cumulative[i] = totalWeight;
      equal &&= weight === candidates[0]?.weight;
      if (since > youngestSince) youngestSince = since;
    }
    this.cumulative = equal ? undefined : cumulative;
    this.totalWeight = totalWeight;
    this.youngestSince = youngestSince;
    this.credit = new Float64Array(candidates.length);
  }

  /** Built when it is first asked for. */
  hashTable(kind: 'ring-hash' | 'maglev'): HashTable {
    const named = () => this.candidates.map(({ state, weight }) => ({ name: state.uid, weight }));
    if (kind === 'ring-hash') return (this.#ring ??= buildRing(named()));
    return (this.#maglev ??= buildMaglev(named()));
  }
}
