// Lets a manual clock go on by itself while something waits on it, between the turns of the event loop.

import type { ManualClock } from '../../mesh/runtime/clock.ts';

/** Settles as `work` does. */
export async function whileTimePasses<T>(
  clock: ManualClock,
  work: Promise<T>,
  { stepMs = 500 }: { readonly stepMs?: number } = {},
): Promise<T> {
  let running = true;
  const ended = work.finally(() => (running = false));
  // Who awaits `ended` hears of its failure.
  ended.catch(() => {});
  while (running) {
    await new Promise(setImmediate);
    clock.advance(stepMs);
  }
  return await ended;
}
