// `weft controller`: options, controller, signals. Exit status 64 for wrong options, 1 for a failure to start.

import { parseArgs } from 'node:util';
import { systemClock } from '../mesh/runtime/clock.ts';
import { onEndSignals } from '../mesh/runtime/end-signals.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { Controller } from './app.ts';
import { type ControllerArguments, controllerArguments, parseControllerConfig } from './config.ts';

const usageExitCode = 64;

/** Runs until SIGTERM or SIGINT, and then ends within seconds, however often it is asked. Resolves with the exit status. */
export async function runController(args: ControllerArguments): Promise<number> {
  const parsed = parseControllerConfig(args);
  if (!parsed.ok) {
    process.stderr.write(`${parsed.problems.map((problem) => `weft controller: ${problem}`).join('\n')}\n`);
    return usageExitCode;
  }
  const { config } = parsed;
  const logger = createLogger({ component: 'controller', format: config.logFormat, level: config.logLevel });
  logger.info({ config }, 'starting');
  const stopping = Promise.withResolvers<string>();
  onEndSignals({ onFirst: stopping.resolve }, { clock: systemClock });
  const controller = new Controller(config, { clock: systemClock });
  try {
    await controller.start();
  } catch (error) {
    logger.fatal({ err: error }, 'cannot start');
    return 1;
  }
  const signal = await stopping.promise;
  logger.info({ signal }, 'stopping');
  await controller.stop();
  return 0;
}

function parseCommandLine(): ControllerArguments | undefined {
  try {
    return parseArgs({ options: controllerArguments, strict: true }).values;
  } catch (error) {
    process.stderr.write(`weft controller: ${(error as Error).message}\n`);
    return undefined;
  }
}

if (import.meta.main) {
  const args = parseCommandLine();
  process.exitCode = args === undefined ? usageExitCode : await runController(args);
}
