// `npm run demo`: builds the world, walks through the steps, prints the table, removes everything again. Exit status 1
// when a step failed or something did not start, 64 for wrong arguments, 130 after Ctrl-C.

import { LabState } from '../lab/lab-state.ts';
import { type DemoOptions, parseDemoOptions, usage } from './options.ts';
import { jsonReport, textReport } from './report.ts';
import { runDemo } from './run-demo.ts';

const labName = 'demo';

function readOptions(): DemoOptions {
  try {
    return parseDemoOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(64);
  }
}

/** Refuses, like a start, while another demo runs. */
function clean(): void {
  try {
    LabState.open(labName).remove();
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}

const options = readOptions();
if (options.help) console.log(usage);
else if (options.clean) clean();
else {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort(signal));
  const report = options.json ? jsonReport : textReport;
  try {
    process.exitCode = await runDemo({ labName, report, keep: options.keep, signal: stop.signal });
  } catch (error) {
    console.error(`The demo did not start: ${(error as Error).message}`);
    process.exitCode = 1;
  }
  // What was abandoned by Ctrl-C may still be waiting for something that will not come.
  if (stop.signal.aborted) process.exit();
}
