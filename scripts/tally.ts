// Counts what the test runner reported. The invariant: whatever went wrong, at least one failure is counted; a file
// that could not be loaded, an error outside any test and a report that is missing are failures too.

export interface RunnerTest {
  readonly status: 'passed' | 'failed' | 'skipped' | 'pending' | 'todo' | 'disabled';
  readonly fullName: string;
}

/** The part of the runner's JSON report (the format of Jest) that is used. */
export interface RunnerReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly RunnerTest[];
  }[];
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
}

export interface TallyOptions {
  /** The runner's exit status. */
  readonly status: number;
  /** Count skipped tests of `*.root.test.ts` as failed. */
  readonly rootMustRun: boolean;
}

/** Sums up one run; `undefined` stands for a runner that wrote no report. */
export function tallyReport(report: RunnerReport | undefined, options: TallyOptions): Tally {
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  for (const file of report?.testResults ?? []) {
    const mustRun = options.rootMustRun && file.name.endsWith('.root.test.ts');
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed' || mustRun) failed++;
      if (test.status !== 'passed' && test.status !== 'failed')
        skipped.push(skipTitle(file.name, test, mustRun));
    }
    const noneFailed = !file.assertionResults.some((test) => test.status === 'failed');
    if (file.status === 'failed' && noneFailed) failed++;
  }
  if (failed === 0 && (options.status !== 0 || report === undefined)) failed = 1;
  return { passed, failed, skipped };
}

function skipTitle(file: string, test: RunnerTest, mustRun: boolean): string {
  const short = file.replace(/^.*\/(?=(mesh|bpf|ztunnel|controller|cli|e2e|bench|scripts|docs)\/)/, '');
  return `${short}: ${test.fullName.trim()}${mustRun ? ' (counted as failed: root tests must run in CI)' : ''}`;
}
