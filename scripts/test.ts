// `npm test`: the checks, every test, then those against a real Kubernetes API, then one summary whose last line is
// `N passed, N failed` alone. Arguments go to the test runner (`npm test -- mesh/h2`), and then only the tests that match
// are run, without the checks and without Kubernetes. What needs root, Go or Kubernetes' programs is skipped where they
// are missing, but counts as failed where CI is set.

import { checks, kubernetes, local } from './stages.ts';
import { summarize } from './summary.ts';
import type { Tally } from './tally.ts';

const filters = process.argv.slice(2);
const stages = filters.length === 0 ? [checks, local, kubernetes] : [local];

const tallies: Tally[] = [];
for (const stage of stages) tallies.push((await stage.run({ filters, echo: true })).tally);
process.exitCode = summarize(tallies);
