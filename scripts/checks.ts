// The checks that are not tests: format, types, lint, dead code, generated files. Each is one command and counts as one.
// A check that cannot run here (a compiler is missing) ends with status 77 and says why in its last line; it is then
// skipped, never passed.

import { type CommandResult, projectHas, runNode, tool } from './command.ts';

export interface Check {
  readonly name: string;
  readonly argv: readonly string[];
  /** What to type when it fails. */
  readonly remedy: string;
}

export interface CheckOutcome {
  readonly check: Check;
  readonly verdict: 'passed' | 'failed' | 'skipped';
  readonly output: string;
  readonly seconds: number;
}

/** The exit status by which a check says that this machine cannot run it (as in automake). */
const skippedStatus = 77;

export const checks: readonly Check[] = [
  { name: 'format', argv: [tool('biome'), 'format', '.'], remedy: 'npm run format' },
  { name: 'types', argv: [tool('tsc')], remedy: 'node_modules/.bin/tsc' },
  { name: 'lint', argv: [tool('oxlint')], remedy: 'node_modules/.bin/oxlint --fix' },
  { name: 'dead code', argv: [tool('knip')], remedy: 'node_modules/.bin/knip' },
  { name: 'generated code', argv: ['scripts/generate.ts', '--check'], remedy: 'npm run generate' },
  { name: 'BPF objects', argv: ['bpf/build.ts', '--check'], remedy: 'node_modules/.bin/node bpf/build.ts' },
];

/** Runs every check, one after the other, and prints one line each, with the output of those that failed. */
export async function runChecks(print: (line: string) => void): Promise<CheckOutcome[]> {
  const outcomes: CheckOutcome[] = [];
  for (const check of checks) {
    const outcome = await runCheck(check);
    outcomes.push(outcome);
    print(describe(outcome));
  }
  return outcomes;
}

async function runCheck(check: Check): Promise<CheckOutcome> {
  const started = performance.now();
  const script = check.argv[0] ?? '';
  const result: CommandResult = projectHas(script)
    ? await runNode(check.argv)
    : { status: 1, output: `${script} does not exist\n` };
  const verdict = result.status === 0 ? 'passed' : result.status === skippedStatus ? 'skipped' : 'failed';
  return { check, verdict, output: result.output, seconds: (performance.now() - started) / 1000 };
}

function describe({ check, verdict, output, seconds }: CheckOutcome): string {
  const time = `${seconds.toFixed(1)} s`;
  switch (verdict) {
    case 'passed':
      return `✓ ${check.name} (${time})`;
    case 'skipped':
      return `- ${check.name} skipped: ${output.trimEnd().split('\n').at(-1)}`;
    case 'failed':
      return `✗ ${check.name} (${time}); to see or repair it: ${check.remedy}\n${indent(output)}`;
  }
}

function indent(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, '    ');
}
