// `weft ztunnel`: settings, node tunnel, signals. Exit status 64 for wrong settings, 69 for a machine that lacks what
// it takes, 1 for a failure.

import { systemClock } from '../mesh/runtime/clock.ts';
import { onEndSignals } from '../mesh/runtime/end-signals.ts';
import { createLogger, setLogLevel } from '../mesh/runtime/logger.ts';
import { Ztunnel } from './app.ts';
import { type ZtunnelConfig, ztunnelConfig } from './config.ts';
import { runNodeStateRemoval } from './node-state.ts';
import { missingFeatures } from './preflight.ts';
import { beginStartup, endStartup } from '../mesh/proxy/startup-memory.ts';

const usageExitCode = 64;
const unavailableExitCode = 69;

/** Runs until SIGTERM or SIGINT; a second one cuts the drain short. Resolves with the exit status. */
export async function runZtunnel(config: ZtunnelConfig): Promise<number> {
  setLogLevel(config['log-level']);
  if (config['remove-node-state'] === 'true') return await removeState(config);
  const missing = missingFeatures();
  if (missing.length > 0) {
    complain(missing);
    return unavailableExitCode;
  }
  const logger = createLogger({ component: 'ztunnel', format: config['log-format'] });
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

async function removeState(config: ZtunnelConfig): Promise<number> {
  const logger = createLogger({ component: 'ztunnel', format: config['log-format'] });
  const asked = Promise.withResolvers<string>();
  onEndSignals({ onFirst: asked.resolve, onRepeated: () => {} }, { clock: systemClock });
  await runNodeStateRemoval(config, { asked: asked.promise, clock: systemClock, logger });
  return 0;
}

function complain(problems: readonly string[]): void {
  process.stderr.write(problems.map((problem) => `weft ztunnel: ${problem}\n`).join(''));
}

if (import.meta.main) {
  const settings = ztunnelConfig(process.argv.slice(2));
  if (!settings.ok) complain(settings.problems);
  process.exitCode = settings.ok ? await runZtunnel(settings.values) : usageExitCode;
}
