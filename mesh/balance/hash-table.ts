// Consistent hashing over the endpoints of a tier: which of them a hash leads to, and which come after it when that one
// may not be picked. Both tables depend on nothing but the set of endpoints and weights, so all waypoints agree; a change
// of the set moves little more than the share of what changed. Bounded in size, built once a change.

import { hashText, mixHash } from './text-hash.ts';

export interface HashedEndpoint {
  readonly name: string;
  /** At least 1. */
  readonly weight: number;
}

/** Positions in a cycle, each of which belongs to one endpoint. */
export interface HashTable {
  readonly length: number;
  /** Position of a 32-bit hash. */
  positionOf(hash: number): number;
  /** Index of the endpoint in the list the table was built from. */
  endpointAt(position: number): number;
}

/** A lighter endpoint counts as this share of the heaviest: it bounds the work, and the error is below one percent. */
const minShare = 0.01;

/** Points of the heaviest endpoint: shares are within about 8 % then (one over the square root). */
const pointsPerEndpoint = 160;
/** 1 MiB. */
const maxPoints = 65_536;

/**
 * Ring hash (ketama): an endpoint owns the arc before each of its points. A change moves only what the endpoint that
 * came or went owns; shares are less even than Maglev's.
 */
export function buildRing(endpoints: readonly HashedEndpoint[]): HashTable {
  const order = sortedByName(endpoints);
  const heaviest = heaviestOf(endpoints);
  const most = Math.max(1, Math.min(pointsPerEndpoint, Math.floor(maxPoints / endpoints.length)));
  const keys: number[] = [];
  for (const [rank, index] of order.entries()) {
    const { name, weight } = endpoints[index] as HashedEndpoint;
    const points = Math.max(1, Math.round((most * weight) / heaviest));
    const seed = hashText(name);
    // One number a point that sorts by hash, then by endpoint: 32 + 20 bits are exact in a double.
    for (let i = 0; i < points; i++) keys.push(mixHash(seed + Math.imul(i, 0x9e3779b1)) * 2 ** 20 + rank);
  }
  const sorted = Float64Array.from(keys).sort();
  const hashes = Uint32Array.from(sorted, (key) => Math.floor(key / 2 ** 20));
  const owners = Uint32Array.from(sorted, (key) => order[key % 2 ** 20] as number);
  return {
    length: hashes.length,
    positionOf: (hash) => firstNotBelow(hashes, hash >>> 0),
    endpointAt: (position) => owners[position] as number,
  };
}

/** Index of the first hash that is not smaller; 0 behind the last one. */
function firstNotBelow(hashes: Uint32Array, hash: number): number {
  let low = 0;
  let high = hashes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((hashes[middle] as number) < hash) low = middle + 1;
    else high = middle;
  }
  return low === hashes.length ? 0 : low;
}

/** Primes; at a hundred slots an endpoint, shares are within 1 %. Two sizes only, as another size moves every hash. */
const smallTable = 16_381;
const largeTable = 65_537;
const maxForSmallTable = 160;

/**
 * Maglev (Eisenbud et al., NSDI 2016, section 3.4): every endpoint has a permutation of the slots and they take turns.
 * Even shares; a change moves a little more than the share of what changed.
 */
export function buildMaglev(endpoints: readonly HashedEndpoint[]): HashTable {
  const size = endpoints.length <= maxForSmallTable ? smallTable : largeTable;
  const order = sortedByName(endpoints);
  const owners = new Int32Array(size).fill(-1);
  const heaviest = heaviestOf(endpoints);
  const turns = order.map((index) => {
    const { name, weight: written } = endpoints[index] as HashedEndpoint;
    const weight = Math.max(written, heaviest * minShare);
    const slot = hashText(name) % size;
    return { index, weight, slot, skip: (hashText(name, 0x5bd1e995) % (size - 1)) + 1, credit: 0 };
  });
  let filled = 0;
  while (filled < size) {
    for (const turn of turns) {
      turn.credit += turn.weight;
      if (turn.credit < heaviest) continue;
      turn.credit -= heaviest;
      while (owners[turn.slot] !== -1) turn.slot = (turn.slot + turn.skip) % size;
      owners[turn.slot] = turn.index;
      if (++filled === size) break;
    }
  }
  return {
    length: size,
    positionOf: (hash) => (hash >>> 0) % size,
    endpointAt: (position) => owners[position] as number,
  };
}

function sortedByName(endpoints: readonly HashedEndpoint[]): number[] {
  const name = (index: number): string => (endpoints[index] as HashedEndpoint).name;
  return [...endpoints.keys()].sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
}

function heaviestOf(endpoints: readonly HashedEndpoint[]): number {
  let heaviest = 1;
  for (const { weight } of endpoints) if (weight > heaviest) heaviest = weight;
  return heaviest;
}
