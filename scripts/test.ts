// `npm test`: the checks, every test, then those against a real Kubernetes API, then one summary whose last line is
// `N passed, N failed` alone. Arguments go to the test runner (`npm test -- mesh/h2`), and then only the tests that match
// are run, without the checks and without Kubernetes. What needs root, Go or Kubernetes' programs is skipped where they
// are missing, but counts as failed where CI is set.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChecks } from './checks.ts';
import { runNode, tool } from './command.ts';
import { type RunnerReport, type Tally, tallyReport } from './tally.ts';

const inCi = Boolean(process.env['CI']);
const filters = process.argv.slice(2);

interface Runner {
  readonly argv: readonly string[];
  /** May end well without having run, for this reason. */
  readonly optional?: string;
}

const vitest: Runner = { argv: [tool('vitest'), 'run'] };
const kubernetes: Runner = {
  argv: [join('e2e', 'kubernetes', 'main.ts')],
  optional: 'the tests against a Kubernetes API: see above for what they need',
};

async function main(): Promise<number> {
  const everything = filters.length === 0;
  const parts = everything
    ? [tallyChecks, () => runTests(vitest), () => runTests(kubernetes)]
    : [() => runTests(vitest)];
  const total = { passed: 0, failed: 0, skipped: [] as string[] };
  for (const part of parts) {
    const { passed, failed, skipped } = await part();
    total.passed += passed;
    total.failed += failed;
    total.skipped.push(...skipped);
  }
  const { passed, failed, skipped } = total;
  if (skipped.length > 0) {
    console.log(`\n${skipped.length} skipped:`);
    for (const title of skipped) console.log(`  - ${title}`);
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

async function tallyChecks(): Promise<Tally> {
  const outcomes = await runChecks((line) => console.log(line));
  const named = (verdict: string): string[] =>
    outcomes.filter((outcome) => outcome.verdict === verdict).map((outcome) => outcome.check.name);
  return { passed: named('passed').length, failed: named('failed').length, skipped: named('skipped') };
}

async function runTests(runner: Runner): Promise<Tally> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-test-'));
  const reportFile = join(directory, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
    const { status } = await runNode([...runner.argv, ...reporters, ...filters], { echo: true });
    const report = readReport(reportFile);
    if (report === undefined && status === 0 && runner.optional !== undefined)
      return { passed: 0, failed: 0, skipped: [runner.optional] };
    return tallyReport(report, { status, rootMustRun: inCi });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function readReport(file: string): RunnerReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RunnerReport;
  } catch {
    return undefined;
  }
}

process.exitCode = await main();
