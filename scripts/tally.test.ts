import { describe, expect, test } from 'vitest';
import { type RunnerReport, tallyReport } from './tally.ts';

function report(name: string, statuses: readonly string[], fileStatus = 'passed'): RunnerReport {
  return {
    testResults: [
      {
        name,
        status: fileStatus,
        assertionResults: statuses.map((status) => ({
          status: status as 'passed',
          fullName: `is ${status}`,
        })),
      },
    ],
  };
}

describe('tallyReport()', () => {
  test('counts passed, failed and skipped tests', () => {
    const tally = tallyReport(
      report('/p/mesh/a.test.ts', ['passed', 'passed', 'failed', 'skipped'], 'failed'),
      {
        status: 1,
        rootMustRun: true,
      },
    );
    expect(tally).toEqual({ passed: 2, failed: 1, skipped: ['mesh/a.test.ts: is skipped'] });
  });

  test('counts a skipped root test as failed where root tests must run', () => {
    const root = report('/p/bpf/a.root.test.ts', ['skipped']);
    expect(tallyReport(root, { status: 0, rootMustRun: true }).failed).toBe(1);
    expect(tallyReport(root, { status: 0, rootMustRun: false }).failed).toBe(0);
  });

  test('counts a file that could not be loaded as one failure', () => {
    expect(
      tallyReport(report('/p/mesh/a.test.ts', [], 'failed'), { status: 1, rootMustRun: false }).failed,
    ).toBe(1);
  });

  test('counts a failure when the runner failed outside any test or wrote no report', () => {
    expect(tallyReport(report('/p/a.test.ts', ['passed']), { status: 1, rootMustRun: false }).failed).toBe(1);
    expect(tallyReport(undefined, { status: 0, rootMustRun: false })).toEqual({
      passed: 0,
      failed: 1,
      skipped: [],
    });
  });
});
