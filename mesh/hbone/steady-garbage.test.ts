// What the tunnel leaves to the collector while bytes move, both sides and the test's two applications together. The
// quietest of several windows counts: in the others V8 compiles.

import { getHeapStatistics } from 'node:v8';
import { expect, it } from 'vitest';
import { PingPong, Sink, Source } from '../io/testing/raw-applications.ts';
import { openSteadyPath, roundTrips, transfer } from './testing/steady-path.ts';

const windows = 5;

/** V8 allocated so much since the thread began; in no version of the types yet. */
function allocatedBytes(): number {
  return (getHeapStatistics() as unknown as { readonly total_allocated_bytes: number }).total_allocated_bytes;
}

function leastAllocated(run: () => void): number {
  const each = Array.from({ length: windows }, () => {
    const before = allocatedBytes();
    run();
    return allocatedBytes() - before;
  });
  return Math.min(...each);
}

it('a round trip allocates no more than the numbers that calls take and return', async () => {
  await using path = await openSteadyPath(PingPong, PingPong);
  const rounds = 3_000;
  const bytes = leastAllocated(() => roundTrips(path, rounds)) / rounds;
  expect(bytes).toBeLessThan(1_200);
});

it('bulk allocates less than a thirtieth of the bytes that pass', async () => {
  await using path = await openSteadyPath(Source, Sink);
  const total = 100_000_000;
  const bytes = leastAllocated(() => transfer(path, total));
  expect(bytes / total).toBeLessThan(1 / 30);
});
