// `weft ztunnel`: settings, node tunnel, signals. Exit status 64 for wrong settings, 69 for a machine that lacks what
// it takes, 1 for a failure.

import { systemClock } from '../mesh/runtime/clock.ts';
import { onEndSignals } from '../mesh/runtime/end-signals.ts';
import { createLogger, setLogLevel } from '../mesh/runtime/logger.ts';
import { Ztunnel } from './app.ts';
import { ConfigError, configFromCommandLine, type ZtunnelConfig } from './config.ts';
import { missingFeatures } from './preflight.ts';
import { beginStartup, endStartup } from './startup-memory.ts';

const usageExitCode = 64;
const unavailableExitCode = 69;

/** Runs until SIGTERM or SIGINT; a second one cuts the drain short. Resolves with the exit status. */
export async function runZtunnel(config: ZtunnelConfig): Promise<number> {
  setLogLevel(config['log-level']);
  const missing = missingFeatures();
  if (missing.length > 0) {
    process.stderr.write(`${missing.map((line) => `weft ztunnel: ${line}`).join('\n')}\n`);
    return unavailableExitCode;
  }
  const logger = createLogger({ component: 'ztunnel', format: config['log-format'], destination: 1 });
  logger.info({ config }, 'starting');
  beginStartup();
  const ztunnel = new Ztunnel(config, logger);
  const stopping = Promise.withResolvers<string>();
  const onRepeated = (signal: string): void => {
    logger.info({ signal }, 'drain cut short');
    ztunnel.cutDrain();
  };
  onEndSignals({ onFirst: stopping.resolve, onRepeated }, { clock: systemClock });
  try {
    await ztunnel.start();
    endStartup(systemClock);
    const cause = await Promise.race([stopping.promise, ztunnel.failed]);
    logger.info({ cause }, 'draining');
  } catch (error) {
    logger.fatal({ err: error }, 'failed');
    await ztunnel.stop('failed');
    return 1;
  }
  await ztunnel.stop('asked');
  return 0;
}

if (import.meta.main) {
  try {
    process.exitCode = await runZtunnel(configFromCommandLine(process.argv.slice(2)));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.problems.map((problem) => `weft ztunnel: ${problem}`).join('\n')}\n`);
    process.exitCode = usageExitCode;
  }
}
