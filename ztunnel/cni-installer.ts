// Keeps our plugin in the node's CNI chain for as long as the node tunnel runs: looks when the directory changes, and every
// few seconds. Ending leaves everything in place, because a pod must not start uncaptured while no node tunnel runs.

import { type FSWatcher, watch } from 'node:fs';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { type CniDirectories, chainPlugin, installProgram } from './cni-files.ts';

export interface CniInstallerOptions {
  readonly directories: CniDirectories;
  /** The plugin's program. */
  readonly program: string;
  readonly metrics: { cniChained(chained: boolean): void };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Somebody who rewrites a file does so in several steps, ms. */
const quietMs = 20;
/** Where no watch can be had, and after what was missed, ms. */
const lookMs = 5_000;

export class CniInstaller {
  #options: CniInstallerOptions;
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #problem: string | undefined;
  #file: string | undefined;

  /** The plugin is in place when this returns, or the log says why not. */
  constructor(options: CniInstallerOptions) {
    this.#options = options;
    this.#look();
    this.#watch();
  }

  /** Why pods start without the plugin; undefined when they do not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  close(): void {
    this.#watcher?.close();
    this.#timer?.cancel();
  }

  #look(): void {
    const { directories, program, metrics } = this.#options;
    try {
      installProgram(program, directories.bin);
      const { changes, chained, problem } = chainPlugin(directories.conf);
      if (changes.size > 0) this.#noteChange(chained, [...changes.keys()]);
      this.#file = chained;
      this.#noteProblem(problem);
    } catch (error) {
      this.#noteProblem(error instanceof Error ? error.message : String(error));
    }
    metrics.cniChained(this.#problem === undefined);
    this.#later(lookMs);
  }

  #later(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(delayMs, () => this.#look(), { unref: true });
  }

  #watch(): void {
    const { directories, logger } = this.#options;
    try {
      this.#watcher = watch(directories.conf, { persistent: false }, () => this.#later(quietMs));
      this.#watcher.on('error', (err) => logger.warn({ err }, 'Watch of the CNI directory ended'));
    } catch (err) {
      logger.warn(
        { err, everyMs: lookMs },
        'The CNI directory can not be watched: it is looked at now and then',
      );
    }
  }

  #noteChange(chained: string | undefined, changed: readonly string[]): void {
    const { logger } = this.#options;
    const again = this.#file !== undefined;
    logger.info(
      { chained, changed, again },
      again ? 'CNI configuration chained again' : 'CNI configuration chained',
    );
  }

  #noteProblem(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#problem) {
      const { directories, logger } = this.#options;
      const fields = { problem, directory: directories.conf };
      logger.error(fields, 'No CNI step: pods start before they are captured, and are captured soon after');
    }
    this.#problem = problem;
  }
}
