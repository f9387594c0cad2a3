// The end of every test run: what was skipped, then `N passed, N failed` alone as the last line.

import type { Tally } from './tally.ts';

/** Prints it and returns the exit status: 0 only if something passed and nothing failed. */
export function summarize(tallies: readonly Tally[]): number {
  const sum = (of: (tally: Tally) => number): number =>
    tallies.reduce((total, tally) => total + of(tally), 0);
  const passed = sum((tally) => tally.passed);
  const failed = sum((tally) => tally.failed);
  const skipped = tallies.flatMap((tally) => tally.skipped);
  if (skipped.length > 0) {
    console.log(`\n${skipped.length} skipped:`);
    for (const title of skipped) console.log(`  - ${title}`);
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
