// The balancing algorithms: one endpoint of a tier, among those an Admission admits. Remember nothing but the turns in
// the tier. Invariant: undefined only if no endpoint of the tier is admitted.

import type { HttpTrafficPolicy } from '../model/traffic-policy.ts';
import type { Admission } from './admission.ts';
import type { Candidate } from './endpoint-list.ts';
import type { Tier } from './tier.ts';

export type BalancingAlgorithm = NonNullable<HttpTrafficPolicy['balancing']>;

/** Random draws before the exact scan; with half of the endpoints ejected 8 fail once in 256 picks. */
const maxDraws = 8;
/** Costs this close are equal: then the number of open connections decides. */
const costTolerance = 1.25;
/** Up to this many endpoints least-connections looks at all of them, above at two. */
const fullScanEndpoints = 64;
/** Positions of a hash table that are looked at before the endpoints themselves: enough unless most are out. */
const maxHashSteps = 1_024;
/**
 * By peak EWMA an endpoint without traffic for this long is picked whatever it costs, so that what is known of it never
 * gets older; at most one pick in eight goes that way.
 */
const maxSilenceMs = 250;
const picksPerProbe = 8;

export interface Choice {
  readonly algorithm: BalancingAlgorithm;
  readonly admission: Admission;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly hash: number | undefined;
}

export function chooseEndpoint(tier: Tier, choice: Choice): Candidate | undefined {
  const { admission, hash } = choice;
  switch (choice.algorithm) {
    case 'weighted-random':
      return draw(tier, choice);
    case 'random':
      return drawEvenly(tier, choice);
    case 'round-robin':
      return tier.cumulative === undefined && !admission.startsSlowly(tier)
        ? nextInTurn(tier, admission)
        : smoothWeightedRoundRobin(tier, admission);
    case 'least-connections':
      if (tier.candidates.length <= fullScanEndpoints && !admission.startsSlowly(tier)) {
        return leastConnections(tier, choice);
      }
      return betterOfTwo(tier, choice, fewerConnections);
    case 'peak-ewma':
      return silentEndpoint(tier, admission) ?? betterOfTwo(tier, choice, cheaper);
    case 'ring-hash':
    case 'maglev':
      return hash === undefined ? draw(tier, choice) : byHash(tier, choice.algorithm, { admission, hash });
  }
}

type IsBetter = (a: Candidate, b: Candidate, admission: Admission) => boolean;

/** Power of two choices: the better of two candidates drawn by weight; the first where neither is better. */
function betterOfTwo(tier: Tier, choice: Choice, isBetter: IsBetter): Candidate | undefined {
  const first = draw(tier, choice);
  if (first === undefined || tier.candidates.length === 1) return first;
  const second = draw(tier, choice, first);
  return second !== undefined && isBetter(second, first, choice.admission) ? second : first;
}

/** One admitted candidate, not `but`, with a chance in proportion to its weight. */
function draw(tier: Tier, { admission, random }: Choice, but?: Candidate): Candidate | undefined {
  const slowly = admission.startsSlowly(tier);
  for (let i = 0; i < maxDraws; i++) {
    const candidate = candidateAt(tier, random());
    if (candidate === but || !admission.admits(candidate)) continue;
    if (!slowly || random() < admission.shareOf(candidate)) return candidate;
  }
  return scan(tier, admission, {
    point: random(),
    weigh: (candidate) =>
      candidate === but ? 0 : candidate.weight * (slowly ? admission.shareOf(candidate) : 1),
  });
}

/** The same without weights. */
function drawEvenly(tier: Tier, { admission, random }: Choice): Candidate | undefined {
  const { candidates } = tier;
  const slowly = admission.startsSlowly(tier);
  for (let i = 0; i < maxDraws; i++) {
    const candidate = candidates[Math.floor(random() * candidates.length)] as Candidate;
    if (admission.admits(candidate) && (!slowly || random() < admission.shareOf(candidate))) return candidate;
  }
  return scan(tier, admission, {
    point: random(),
    weigh: (candidate) => (slowly ? admission.shareOf(candidate) : 1),
  });
}

/** Exact: every admitted candidate is weighed. */
function scan(
  tier: Tier,
  admission: Admission,
  { point, weigh }: { readonly point: number; readonly weigh: (candidate: Candidate) => number },
): Candidate | undefined {
  let total = 0;
  for (const candidate of tier.candidates) if (admission.admits(candidate)) total += weigh(candidate);
  let left = point * total;
  let last: Candidate | undefined;
  for (const candidate of tier.candidates) {
    if (!admission.admits(candidate)) continue;
    const weight = weigh(candidate);
    if (weight === 0) continue;
    last = candidate;
    left -= weight;
    if (left < 0) break;
  }
  return last;
}

/** @param unit in [0, 1) */
function candidateAt(tier: Tier, unit: number): Candidate {
  const { candidates, cumulative } = tier;
  if (cumulative === undefined) return candidates[Math.floor(unit * candidates.length)] as Candidate;
  const point = unit * tier.totalWeight;
  let low = 0;
  let high = candidates.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((cumulative[middle] as number) > point) high = middle;
    else low = middle + 1;
  }
  return candidates[low] as Candidate;
}

function nextInTurn(tier: Tier, admission: Admission): Candidate | undefined {
  const { length } = tier.candidates;
  for (let i = 0; i < length; i++) {
    const candidate = tier.candidates[(tier.turn + i) % length] as Candidate;
    if (!admission.admits(candidate)) continue;
    tier.turn = (tier.turn + i + 1) % length;
    return candidate;
  }
  return undefined;
}

/** Each turn gives every candidate its weight; the richest is picked and pays for all (the nginx algorithm). */
function smoothWeightedRoundRobin(tier: Tier, admission: Admission): Candidate | undefined {
  const { candidates, credit } = tier;
  let best = -1;
  let total = 0;
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i] as Candidate;
    if (!admission.admits(candidate)) continue;
    const weight = candidate.weight * admission.shareOf(candidate);
    total += weight;
    credit[i] = (credit[i] as number) + weight;
    if (best < 0 || (credit[i] as number) > (credit[best] as number)) best = i;
  }
  if (best < 0) return undefined;
  credit[best] = (credit[best] as number) - total;
  return candidates[best];
}

/** Equals in random order, so that several nodes do not agree on one. */
function leastConnections(tier: Tier, { admission, random }: Choice): Candidate | undefined {
  const { candidates } = tier;
  const start = Math.floor(random() * candidates.length);
  let best: Candidate | undefined;
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[(start + i) % candidates.length] as Candidate;
    if (admission.admits(candidate) && (best === undefined || fewerConnections(candidate, best))) {
      best = candidate;
    }
  }
  return best;
}

function fewerConnections(a: Candidate, b: Candidate): boolean {
  return a.state.load.open * b.weight < b.state.load.open * a.weight;
}

function cheaper(a: Candidate, b: Candidate, admission: Admission): boolean {
  const costA = costOf(a, admission);
  const costB = costOf(b, admission);
  if (costA * costTolerance < costB) return true;
  if (costB * costTolerance < costA) return false;
  return fewerConnections(a, b);
}

function costOf({ state: { load }, weight }: Candidate, { now, forRequest }: Admission): number {
  return forRequest ? load.requestCost(now, weight) : load.cost(now, weight);
}

/** An endpoint that has had nothing to do for too long; they are asked in turns, one a pick. */
function silentEndpoint(tier: Tier, admission: Admission): Candidate | undefined {
  tier.picksSinceProbe++;
  const { candidates } = tier;
  const candidate = candidates[tier.probeTurn] as Candidate;
  if (!isSilent(candidate, admission)) {
    tier.probeTurn = (tier.probeTurn + 1) % candidates.length;
    return undefined;
  }
  if (tier.picksSinceProbe < picksPerProbe) return undefined;
  tier.picksSinceProbe = 0;
  tier.probeTurn = (tier.probeTurn + 1) % candidates.length;
  return candidate;
}

function isSilent(candidate: Candidate, admission: Admission): boolean {
  const { load } = candidate.state;
  const busy = admission.forRequest ? load.open : load.pending;
  return (
    busy === 0 &&
    admission.now - load.pickedAt > maxSilenceMs &&
    admission.admits(candidate) &&
    admission.shareOf(candidate) === 1
  );
}

/** The endpoint at the hash's position, else the next admitted one in the table's order. */
function byHash(
  tier: Tier,
  kind: 'ring-hash' | 'maglev',
  { admission, hash }: { readonly admission: Admission; readonly hash: number },
): Candidate | undefined {
  const { candidates } = tier;
  const table = tier.hashTable(kind);
  const slowly = admission.startsSlowly(tier);
  const start = table.positionOf(hash);
  const steps = Math.min(table.length, maxHashSteps);
  for (let i = 0; i < steps; i++) {
    const candidate = candidates[table.endpointAt((start + i) % table.length)] as Candidate;
    if (admission.admits(candidate) && (!slowly || admission.hasComeOver(candidate, hash))) return candidate;
  }
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[(start + i) % candidates.length] as Candidate;
    if (admission.admits(candidate)) return candidate;
  }
  return undefined;
}
