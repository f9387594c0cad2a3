// Reads what the suite prints while it runs (`go test -v`): which tests of the mesh profiles began and how they ended.
// Tests of other profiles, which the suite skips, and parts of tests are left out.

export type Verdict = 'passed' | 'failed' | 'skipped';

export interface TestResult {
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
}

const verdicts: Readonly<Record<string, Verdict>> = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' };
const ending = /^\s*--- (PASS|FAIL|SKIP): TestConformance\/(Mesh[A-Za-z0-9]*) \(([\d.]+)s\)$/;

/** The test that this line ends, if any. */
export function readResult(line: string): TestResult | undefined {
  const [, word = '', name, seconds] = ending.exec(line) ?? [];
  const verdict = verdicts[word];
  return name === undefined || verdict === undefined
    ? undefined
    : { name, verdict, seconds: Number(seconds) };
}

/** A line for each, what failed last, and a line of sums. */
export function resultTable(results: readonly TestResult[]): string {
  const order: readonly Verdict[] = ['passed', 'skipped', 'failed'];
  const width = Math.max(0, ...results.map(({ name }) => name.length));
  const lines = order.flatMap((verdict) =>
    results
      .filter((result) => result.verdict === verdict)
      .map(({ name, seconds }) => `${name.padEnd(width)}  ${verdict.padEnd(7)}  ${seconds.toFixed(1)} s`),
  );
  const sums = order.map((verdict) => {
    const count = results.filter((result) => result.verdict === verdict).length;
    return `${count} ${verdict}`;
  });
  return [...lines, sums.join(', ')].join('\n');
}
