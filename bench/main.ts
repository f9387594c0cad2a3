// `npm run bench`: measures, prints the table, writes the results. Exit status 1 when something did not start or a
// connection failed, 64 for wrong arguments, 130 after Ctrl-C. Nothing is left behind in any case.

import { join } from 'node:path';
import { LabState, removeLab } from '../e2e/lab/lab-state.ts';
import { compare, describeDifferences, describeMovements } from './compare.ts';
import { type BenchOptions, parseBenchOptions, usage } from './options.ts';
import { readResults, type Results, writeResults } from './results.ts';
import { labName, runBench, runSoak } from './run-bench.ts';
import { describeSoak } from './soak.ts';
import { otherRows, provenance, tableRows, textTable, writeDocsTable } from './table.ts';
import { targetRows } from './targets.ts';

const docs = join(import.meta.dirname, '../docs/PERFORMANCE.md');
const print = (line: string): void => console.log(line);

function readOptions(): BenchOptions {
  try {
    return parseBenchOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(64);
  }
}

async function run(options: BenchOptions): Promise<void> {
  if (options.soak !== undefined) return soakAndReport(options, options.soak);
  // Read first: a wrong name should not cost six minutes.
  const before = options.compare === undefined ? undefined : readResults(options.compare);
  const results = await runBench({ ...options, print: (line) => console.error(line) });
  for (const rows of [tableRows(results), otherRows(results), targetRows(results)])
    if (rows.length > 1) print(`\n${textTable(rows)}`);
  print(`\n${provenance(results)}`);
  keep(results, options);
  if (before !== undefined) print(`\nSince ${options.compare}:\n${comparison(before, results).join('\n')}`);
}

function comparison(before: Results, after: Results): string[] {
  return [...describeDifferences(before, after), ...describeMovements(compare(before, after))];
}

function keep(results: Results, options: BenchOptions): void {
  const file = options.json ?? join(import.meta.dirname, 'results', `${results.date.slice(0, 10)}.json`);
  if (file !== '') {
    writeResults(file, results);
    print(`Results: ${file}`);
  }
  if (options.writeDocs) writeDocsTable(docs, results);
}

async function soakAndReport(options: BenchOptions, minutes: number): Promise<void> {
  const report = await runSoak({ weft: options.weft, minutes, print });
  print(`\n${describeSoak(report).join('\n')}`);
  if (report.verdict === 'growing') process.exitCode = 1;
}

/** Refuses, like a start, while another benchmark runs. */
function clean(): void {
  LabState.open(labName).remove();
}

if (process.argv[2] === 'controller') {
  const { runControllerBench } = await import('./controller/main.ts');
  process.exit(await runControllerBench(process.argv.slice(3)));
}
if (process.argv[2] === 'http') {
  const { runHttpBench } = await import('./http/main.ts');
  process.exit(await runHttpBench(process.argv.slice(3)));
}
const options = readOptions();
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    removeLab(labName);
    process.exit(status);
  });
}
try {
  if (options.help) print(usage);
  else if (options.clean) clean();
  else await run(options);
} catch (error) {
  console.error(`The benchmark failed: ${(error as Error).message}`);
  process.exitCode = 1;
}
