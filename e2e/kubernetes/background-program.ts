// A program that runs beside the tests: started with its output in a log file, stopped by SIGTERM and, if it does not
// listen, by SIGKILL. An early end is told with the last lines of its log.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { RigError } from './rig-error.ts';

export class BackgroundProgram {
  readonly name: string;
  readonly logFile: string;
  readonly #child: ChildProcess;

  constructor(name: string, argv: readonly string[], { logFile }: { readonly logFile: string }) {
    this.name = name;
    this.logFile = logFile;
    const [program = '', ...args] = argv;
    const log = openSync(logFile, 'a', 0o600);
    this.#child = spawn(program, args, { stdio: ['ignore', log, log] });
    this.#child.on('error', () => {});
    closeSync(log);
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Polls `isReady` until it holds. Throws RigError `NOT_STARTED` at the program's end or after `timeoutMs`. */
  async ready(isReady: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await isReady())) {
      if (!this.running) throw await this.#failure('ended before it was ready');
      if (performance.now() > deadline) throw await this.#failure(`was not ready after ${timeoutMs} ms`);
      await delay(50);
    }
  }

  /** Freezes it with all its connections open, until thaw(). */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Idempotent. `now` kills at once, for programs whose state is thrown away. */
  async stop({ now = false }: { readonly now?: boolean } = {}): Promise<void> {
    if (!this.running) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill(now ? 'SIGKILL' : 'SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(timer);
  }

  async #failure(what: string): Promise<RigError> {
    const log = await readFile(this.logFile, 'utf8').catch(() => '');
    const tail = log.trimEnd().split('\n').slice(-8).join('\n');
    return new RigError('NOT_STARTED', `Program ${this.name} ${what}; the end of its log:\n${tail}`);
  }
}
