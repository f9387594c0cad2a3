// Reads what the suite prints while it runs (`go test -v`): which tests of the mesh profiles began and how they ended.
// Tests of other profiles, which the suite skips, and parts of tests are left out.

export type Verdict = 'passed' | 'failed' | 'skipped';

export interface TestResult {
  readonly name: string;
  readonly verdict: Verdict;
}

export interface TimedResult extends TestResult {
  /** On the clock of whoever watched: the suite does not count what runs in parallel. */
  readonly seconds: number;
}

const verdicts: Readonly<Record<string, Verdict>> = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' };
const ending = /^\s*--- (PASS|FAIL|SKIP): TestConformance\/(Mesh[A-Za-z0-9]*) \([\d.]+s\)$/;

const beginning = /^=== RUN {3}TestConformance\/(Mesh[A-Za-z0-9]*)$/;

/** Name of the test that this line begins, if any. */
export function readStart(line: string): string | undefined {
  return beginning.exec(line)?.[1];
}

/** How a test ended; all endings come after the last test. */
export function readResult(line: string): TestResult | undefined {
  const [, word = '', name] = ending.exec(line) ?? [];
  const verdict = verdicts[word];
  return name === undefined || verdict === undefined ? undefined : { name, verdict };
}

/** Whether the suite says here that an answer was wrong or none, and that it asks again: a pass may then be luck. */
export function isRepeated(line: string): boolean {
  return / not ready yet: /.test(line);
}

/** A line for each, what failed last, and a line of sums. */
export function resultTable(results: readonly TimedResult[]): string {
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
