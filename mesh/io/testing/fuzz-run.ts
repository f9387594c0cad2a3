// How long a fuzz test goes on: a few fixed seeds in CI, new ones for WEFT_FUZZ_MINUTES=N minutes, or WEFT_FUZZ_SEED=N
// alone, as a failure names it.

import { expect } from 'vitest';

const minutes = Number(process.env['WEFT_FUZZ_MINUTES'] ?? 0);
const onlySeed = process.env['WEFT_FUZZ_SEED'];

/** For the test's options: what the seeds may take at most, ms. */
export const fuzzTimeoutMs = minutes * 60_000 + 180_000;

/** Runs seed after seed; `run` returns the problems it found. */
export async function fuzz(
  run: (seed: number) => Promise<readonly string[]>,
  { seedsInCi }: { readonly seedsInCi: number },
): Promise<void> {
  const until = performance.now() + minutes * 60_000;
  const first = Number(onlySeed ?? (minutes > 0 ? Math.floor(Math.random() * 1e9) : 1));
  const last = onlySeed === undefined ? first + seedsInCi - 1 : first;
  let seed = first;
  for (; seed <= last || performance.now() < until; seed++)
    expect(await run(seed), `WEFT_FUZZ_SEED=${seed}`).toEqual([]);
  if (minutes > 0) process.stderr.write(`seeds ${first} to ${seed - 1}\n`);
}
