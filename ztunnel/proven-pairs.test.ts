import { expect, it } from 'vitest';
import { ip } from '../mesh/model/fixture.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { ProvenPairs } from './proven-pairs.ts';
import type { ProvenConnection } from './same-node.ts';

const pair = (name: string, port = 80): ProvenConnection => ({
  source: 'web' as WorkloadUid,
  destination: { address: ip('10.0.0.2'), port },
  endpoint: name as WorkloadUid,
  endpointAddress: { address: ip('10.0.0.2'), port },
});

it('a pair is told at once, then once a second at most', () => {
  let now = 0;
  const told: ProvenConnection[] = [];
  const pairs = new ProvenPairs({ now: () => now, tell: (connection) => told.push(connection) });
  pairs.proven(pair('a'));
  now = 999;
  pairs.proven(pair('a'));
  expect(told).toEqual([pair('a')]);
  now = 1_000;
  pairs.proven(pair('a'));
  expect(told).toHaveLength(2);
});

it('every endpoint and port is a pair of its own', () => {
  const told: ProvenConnection[] = [];
  const pairs = new ProvenPairs({ now: () => 0, tell: (connection) => told.push(connection) });
  for (const one of [pair('a'), pair('b'), pair('a', 81), pair('a')]) pairs.proven(one);
  expect(told).toEqual([pair('a'), pair('b'), pair('a', 81)]);
});

it('forgets when there are too many, which only tells again', () => {
  let told = 0;
  const pairs = new ProvenPairs({ now: () => 0, tell: () => told++ });
  for (let port = 1; port <= 5_000; port++) pairs.proven(pair('a', port));
  pairs.proven(pair('a', 1));
  expect(told).toBe(5_001);
});
