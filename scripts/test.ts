// `npm test`: the checks, then every test, then one summary whose last line is `N passed, N failed` alone.
// Arguments go to the test runner (`npm test -- mesh/h2`), and then only the tests that match are run, without the checks.
// A test that needs root is skipped for a developer without root, but counts as failed where CI is set.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChecks } from './checks.ts';
import { runNode, tool } from './command.ts';
import { type RunnerReport, type Tally, tallyReport } from './tally.ts';

const inCi = Boolean(process.env['CI']);
const filters = process.argv.slice(2);

async function main(): Promise<number> {
  const total: Tally = filters.length === 0 ? await tallyChecks() : { passed: 0, failed: 0, skipped: [] };
  const tests = await runTests();
  const skipped = [...total.skipped, ...tests.skipped];
  const failed = total.failed + tests.failed;
  const passed = total.passed + tests.passed;
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

async function runTests(): Promise<Tally> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-test-'));
  const reportFile = join(directory, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
    const { status } = await runNode([tool('vitest'), 'run', ...reporters, ...filters], { echo: true });
    return tallyReport(readReport(reportFile), { status, rootMustRun: inCi });
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
