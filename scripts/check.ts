// `npm run check`: everything CI checks besides the tests. Exit status 1 when one of them failed.

import { runChecks } from './checks.ts';

const outcomes = await runChecks((line) => console.log(line));
process.exitCode = outcomes.some((outcome) => outcome.verdict === 'failed') ? 1 : 0;
