// `weft waypoint`: settings, waypoint, signals. Exit status 64 for wrong settings, 1 for a failure.

import { beginStartup, endStartup } from '../mesh/proxy/startup-memory.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { onEndSignals } from '../mesh/runtime/end-signals.ts';
import { createLogger, setLogLevel } from '../mesh/runtime/logger.ts';
import { Waypoint } from './app.ts';
import { type WaypointProgramConfig, waypointConfig } from './config.ts';

const usageExitCode = 64;

/** Runs until SIGTERM or SIGINT; a second one cuts the drain short. Resolves with the exit status. */
export async function runWaypoint(config: WaypointProgramConfig): Promise<number> {
  setLogLevel(config['log-level']);
  const logger = createLogger({ component: 'waypoint', format: config['log-format'] });
  logger.info({ config }, 'starting');
  beginStartup();
  const waypoint = new Waypoint(config, logger);
  const stopping = Promise.withResolvers<string>();
  const onRepeated = (signal: string): void => {
    logger.info({ signal }, 'drain cut short');
    waypoint.cutDrain();
  };
  onEndSignals({ onFirst: stopping.resolve, onRepeated }, { clock: systemClock });
  try {
    await waypoint.start();
    endStartup(systemClock);
    const cause = await Promise.race([stopping.promise, waypoint.failed]);
    logger.info({ cause }, 'draining');
  } catch (error) {
    logger.fatal({ err: error }, 'failed');
    await waypoint.stop('failed');
    return 1;
  }
  await waypoint.stop('asked');
  return 0;
}

if (import.meta.main) {
  const settings = waypointConfig(process.argv.slice(2));
  if (settings.ok) {
    process.exitCode = await runWaypoint(settings.values);
  } else {
    process.stderr.write(settings.problems.map((problem) => `weft waypoint: ${problem}\n`).join(''));
    process.exitCode = usageExitCode;
  }
}
