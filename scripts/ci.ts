// What CI runs: everything of `npm test`, and the end to end tests on a local cluster. Much of it waits (for processes, for
// clusters), so stages run in lanes side by side; one lane's stages run one after the other. What a stage printed comes when
// it has ended, in one piece. The last line is `N passed, N failed` alone.

import { checks, endToEnd, kernel, kubernetes, programs, type Stage, unit } from './stages.ts';
import { summarize } from './summary.ts';
import type { Tally } from './tally.ts';

/** Compilers have the machine to themselves. */
const first: readonly Stage[] = [programs, checks];

/** About as long as one another. What measures the same kernel, or starts API servers, is in one lane. */
const lanes: readonly (readonly Stage[])[] = [[unit, kernel, kubernetes], [endToEnd]];

async function runLane(stages: readonly Stage[]): Promise<readonly Tally[]> {
  const tallies: Tally[] = [];
  for (const { name, run } of stages) {
    console.log(`${name}: started`);
    const started = performance.now();
    const { tally, output } = await run({ echo: false });
    const seconds = Math.round((performance.now() - started) / 1000);
    console.log(`\n==== ${name}: ${tally.passed} passed, ${tally.failed} failed, in ${seconds} s ====`);
    console.log(output.trimEnd());
    tallies.push(tally);
  }
  return tallies;
}

const begun = await runLane(first);
const tallies = await Promise.all(lanes.map(runLane));
process.exitCode = summarize([...begun, ...tallies.flat()]);
