// A directory of manifests as a live source of resources: watched, debounced, and looked through from time to time
// because watches miss things (network file systems, a directory that went away). The last good resources stay in
// force whatever happens to the directory; the handler hears of every change of resources or problems.

import { type FSWatcher, watch } from 'node:fs';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { buildResources, type Resources } from '../resources/resources.ts';
import { SourceError } from './directory-error.ts';
import { LastGoodFiles } from './last-good-files.ts';
import { type Loaded, ManifestSet } from './manifest-set.ts';
import type { Problem } from './problem.ts';
import type { ResourceSource, ResourcesHandler } from './resource-source.ts';

export interface DirectorySourceOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Directory in which last good versions of manifests outlive the process; without it they do not. */
  readonly lastGoodDir?: string;
}

/** Changes this close together are read as one; long enough for an editor to write a file in two steps. */
const debounceMs = 100;
/** A directory that never rests is read at least this often. */
const maxDelayMs = 1_000;
/** For changes that no watch reports. */
const pollMs = 5_000;
/** While the directory is away. */
const retryMs = 1_000;

export class DirectorySource implements ResourceSource {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #handler: ResourcesHandler;
  readonly #set: ManifestSet;
  readonly #watchers = new Map<string, FSWatcher>();
  #resources: Resources = buildResources([]);
  #problems: readonly Problem[] = [];
  #away = false;
  #closed = false;
  #running: Promise<void> | undefined;
  #again = false;
  #debounce: Timer | undefined;
  #dirtySince: number | undefined;
  #poll: Timer | undefined;
  #watchFailed = false;

  constructor({ directory, clock, logger, lastGoodDir }: DirectorySourceOptions, handler: ResourcesHandler) {
    this.#directory = directory;
    this.#clock = clock;
    this.#logger = logger;
    this.#handler = handler;
    const lastGood =
      lastGoodDir === undefined ? {} : { lastGood: new LastGoodFiles({ directory: lastGoodDir, logger }) };
    this.#set = new ManifestSet({ directory, ...lastGood });
  }

  /** Reads the directory, calls the handler, then watches. Rejects with SourceError if it cannot be read at all. */
  async start(): Promise<void> {
    const { resources, problems } = await this.#set.update().catch((error: unknown) => {
      throw SourceError.unreadable(this.#directory, error);
    });
    this.#publish(resources, problems);
    if (this.#closed) return;
    this.#rewatch();
    // What changed between reading and watching.
    this.#schedule();
    this.#startPoll();
  }

  /** Stops watching; no call of the handler afterwards. Resolves when a read under way has ended. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#debounce?.cancel();
    this.#poll?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    await this.#running;
  }

  #schedule(): void {
    if (this.#closed) return;
    const now = this.#clock.monotonic();
    this.#dirtySince ??= now;
    this.#debounce?.cancel();
    const delayMs = Math.max(0, Math.min(debounceMs, this.#dirtySince + maxDelayMs - now));
    this.#debounce = this.#clock.after(delayMs, () => this.#run());
  }

  #run(): void {
    this.#dirtySince = undefined;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#update().finally(() => {
      this.#running = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#schedule();
    });
  }

  async #update(): Promise<void> {
    const loaded = await this.#set.update().catch((error: unknown) => {
      if (!this.#closed) this.#reportAway(error);
    });
    if (this.#closed) return;
    if (loaded !== undefined) this.#apply(loaded);
    this.#rewatch();
  }

  #apply({ resources, problems, changed }: Loaded): void {
    const returned = this.#away;
    if (returned) this.#logger.info({ directory: this.#directory }, 'manifest directory is back');
    this.#away = false;
    if (!changed && !returned) return;
    try {
      this.#publish(resources, problems);
    } catch (err) {
      // A fault of ours, not of the manifests: what is in force stays, and the next change is tried again.
      this.#logger.error({ err }, 'applying the manifests failed, keeping what is in force');
    }
  }

  #publish(resources: Resources, problems: readonly Problem[]): void {
    this.#resources = resources;
    this.#problems = problems;
    this.#handler.onResources(resources, problems);
  }

  #reportAway(error: unknown): void {
    if (this.#away) return;
    this.#away = true;
    const { message } = SourceError.unreadable(this.#directory, error);
    this.#logger.error(
      { directory: this.#directory, reason: message },
      'manifest directory went away, keeping its last version',
    );
    const problem: Problem = {
      file: this.#directory,
      line: 0,
      column: 0,
      message: `${message}; the last version stays in force`,
      severity: 'error',
    };
    this.#handler.onResources(this.#resources, [problem, ...this.#problems]);
    // From now on there is nothing to watch: look more often.
    this.#startPoll();
  }

  #startPoll(): void {
    if (this.#closed) return;
    this.#poll?.cancel();
    const delayMs = this.#away ? retryMs : pollMs;
    this.#poll = this.#clock.after(
      delayMs,
      () => {
        void this.#checkStale().finally(() => this.#startPoll());
      },
      { unref: true },
    );
  }

  /** Only finds out: reading waits for the debounce, so that no half-written file is read. */
  async #checkStale(): Promise<void> {
    if (this.#running !== undefined || this.#dirtySince !== undefined) return;
    const stale = await this.#set.isStale().then(
      (changed) => changed || this.#away,
      () => !this.#away,
    );
    if (stale) this.#schedule();
  }

  /** One watch a directory: Node's own recursive watch misses directories behind links. */
  #rewatch(): void {
    const wanted = new Map(this.#away ? [] : this.#set.directories.map(({ id, path }) => [id, path]));
    for (const [id, watcher] of this.#watchers) {
      if (wanted.has(id)) continue;
      watcher.close();
      this.#watchers.delete(id);
    }
    for (const [id, path] of wanted) {
      if (!this.#watchers.has(id)) this.#watch(id, path);
    }
  }

  #watch(id: string, path: string): void {
    try {
      const watcher = watch(path, { persistent: false }, () => this.#schedule());
      watcher.on('error', () => this.#dropWatch(id, watcher));
      this.#watchers.set(id, watcher);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return this.#schedule();
      if (this.#watchFailed) return;
      this.#watchFailed = true;
      const reason = (error as Error).message;
      this.#logger.warn(
        { directory: path, reason, pollMs },
        'cannot watch a directory, changes are found more slowly',
      );
    }
  }

  #dropWatch(id: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watchers.get(id) === watcher) this.#watchers.delete(id);
    this.#schedule();
  }
}
