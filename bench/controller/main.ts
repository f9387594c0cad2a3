// `npm run bench -- controller`: measures the controller, prints figures against their targets. Exit status 1 when it
// could not be measured, 64 for wrong arguments; a missed target is a figure, not a failure.

import { isIsolated } from '../../e2e/kubernetes/isolation.ts';
import { runIsolated } from '../../e2e/kubernetes/isolated-run.ts';
import { findPrograms } from '../../e2e/kubernetes/programs.ts';
import { RigError } from '../../e2e/kubernetes/rig-error.ts';
import { type ControllerBenchOptions, controllerUsage, parseControllerBenchOptions } from './options.ts';

const print = (line: string): void => console.log(line);

/** Resolves with the exit status. */
export async function runControllerBench(argv: readonly string[]): Promise<number> {
  let options: ControllerBenchOptions;
  try {
    options = parseControllerBenchOptions(argv);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${controllerUsage}`);
    return 64;
  }
  if (options.help) {
    print(controllerUsage);
    return 0;
  }
  if (options.simulate) {
    const { simulate } = await import('./simulation.ts');
    simulate(print);
    return 0;
  }
  if (options.apiServer && !isIsolated()) return await runWithApiServer(argv);
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(status));
  }
  const { measureController } = await import('./measure.ts');
  await measureController(options, print);
  return 0;
}

/** This program again, where an API server may be started. */
async function runWithApiServer(argv: readonly string[]): Promise<number> {
  try {
    const programs = await findPrograms({ env: process.env, onBuild: (text) => console.error(text) });
    return await runIsolated({ programs }, [process.execPath, import.meta.filename, ...argv]);
  } catch (error) {
    if (!(error instanceof RigError)) throw error;
    console.error(error.message);
    return 1;
  }
}

if (import.meta.main) process.exitCode = await runControllerBench(process.argv.slice(2));
