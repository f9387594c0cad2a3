// The parts that a test run is made of: the checks, and vitest over one sort of tests each. A stage runs to its end and says
// what came of it; which stages there are in a run, and in what order, is the caller's.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChecks } from './checks.ts';
import { runNode, tool } from './command.ts';
import { type RunnerReport, type Tally, tallyReport } from './tally.ts';

export interface StageRun {
  readonly tally: Tally;
  /** What it printed, for a stage that was not to print itself. */
  readonly output: string;
}

export interface StageOptions {
  /** For the test runner, which then runs only what matches. */
  readonly filters?: readonly string[];
  /** Print as it comes. */
  readonly echo: boolean;
}

export interface Stage {
  readonly name: string;
  readonly run: (options: StageOptions) => Promise<StageRun>;
}

interface Runner {
  readonly argv: readonly string[];
  /** May end well without having run, for this reason. */
  readonly optional?: string;
}

/** The exit status by which a runner says that this machine cannot run it (as in automake). */
const skippedStatus = 77;
const inCi = Boolean(process.env['CI']);
const vitest = [tool('vitest'), 'run'];

export const checks: Stage = { name: 'checks', run: tallyChecks };
/** Without a cluster: pure, on loopback, and with the kernel. */
export const local = tests('tests', { argv: vitest });
export const unit = tests('unit tests', { argv: [...vitest, '--project=unit'] });
export const kernel = tests('kernel tests', { argv: [...vitest, '--project=kernel'] });
/** Counts for nothing: what could not be built is told, and failed, by the stages that take it. */
export const programs: Stage = {
  name: 'programs of Kubernetes',
  run: async ({ echo }) => {
    const { output } = await runNode([join('e2e', 'kubernetes', 'build-programs-main.ts')], { echo });
    return { tally: { passed: 0, failed: 0, skipped: [] }, output };
  },
};
export const kubernetes = tests('tests against a Kubernetes API', {
  argv: [join('e2e', 'kubernetes', 'main.ts')],
  optional: 'the tests against a Kubernetes API: see above for what they need',
});
export const endToEnd = tests('end to end tests', {
  argv: [join('e2e', 'main.ts')],
  optional: 'the end to end tests on a cluster: see above for what they need',
});

function tests(name: string, runner: Runner): Stage {
  return { name, run: (options) => runTests(runner, options) };
}

async function tallyChecks({ echo }: StageOptions): Promise<StageRun> {
  let output = '';
  const outcomes = await runChecks((line) => {
    if (echo) console.log(line);
    output += `${line}\n`;
  });
  const named = (verdict: string): string[] =>
    outcomes.filter((outcome) => outcome.verdict === verdict).map((outcome) => outcome.check.name);
  const tally = {
    passed: named('passed').length,
    failed: named('failed').length,
    skipped: named('skipped'),
  };
  return { tally, output };
}

async function runTests(runner: Runner, { filters = [], echo }: StageOptions): Promise<StageRun> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-test-'));
  const reportFile = join(directory, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
    const { status, output } = await runNode([...runner.argv, ...reporters, ...filters], { echo });
    const report = readReport(reportFile);
    const skips = status === 0 || (status === skippedStatus && !inCi);
    if (report === undefined && skips && runner.optional !== undefined)
      return { tally: { passed: 0, failed: 0, skipped: [runner.optional] }, output };
    return { tally: tallyReport(report, { status, rootMustRun: inCi }), output };
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
