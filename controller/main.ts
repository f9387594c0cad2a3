// `weft controller`: options, controller, signals. Exit status 64 for wrong options, 1 for a failure to start.

import { systemClock } from '../mesh/runtime/clock.ts';
import { onEndSignals } from '../mesh/runtime/end-signals.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { Controller } from './app.ts';
import { type ControllerConfig, controllerConfig } from './config.ts';

const usageExitCode = 64;

/** Runs until SIGTERM or SIGINT, and then ends within seconds, however often it is asked. Resolves with the exit status. */
export async function runController(config: ControllerConfig): Promise<number> {
  const logger = createLogger({ component: 'controller', format: config.logFormat, level: config.logLevel });
  logger.info({ config }, 'starting');
  const stopping = Promise.withResolvers<string>();
  onEndSignals({ onFirst: stopping.resolve }, { clock: systemClock });
  const controller = new Controller(config, { clock: systemClock });
  const started = controller.start().then(
    // For a parent that waits for it, as `weft up`.
    () => void process.send?.('ready'),
    (error: unknown) => error,
  );
  const first = await Promise.race([started, stopping.promise]);
  if (first !== undefined && typeof first !== 'string') {
    logger.fatal({ err: first }, 'cannot start');
    return 1;
  }
  const signal = await stopping.promise;
  logger.info({ signal }, 'stopping');
  await controller.stop();
  return 0;
}

if (import.meta.main) {
  const parsed = controllerConfig(process.argv.slice(2));
  if (!parsed.ok)
    process.stderr.write(parsed.problems.map((problem) => `weft controller: ${problem}\n`).join(''));
  process.exitCode = parsed.ok ? await runController(parsed.config) : usageExitCode;
}
