// One process of the lab: started inside a network namespace, output to a log file, ended by pid. It is a session of
// its own, so a Ctrl-C at the terminal reaches only the program that owns the lab, which then cleans up in order.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from './lab-error.ts';
import type { LabState } from './lab-state.ts';
import { LogFile } from './log-file.ts';
import { identifyProcess, type ProcessIdentity } from './process-identity.ts';

export interface ProcessOptions {
  /** Unique among the processes of the lab that run at the same time; names the log file. */
  readonly name: string;
  readonly argv: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Pod processes see the pod's /etc/resolv.conf; node processes keep the machine's /sys with bpffs and cgroups. */
  readonly view: 'pod' | 'node';
  /** Open a message channel to the process (Node's IPC). */
  readonly channel?: boolean;
}

export class LabProcess {
  readonly name: string;
  readonly log: LogFile;
  readonly child: ChildProcess;
  readonly identity: ProcessIdentity;
  readonly #ended = new AbortController();
  readonly #exit: Promise<number>;

  /** Starts the process; throws LabError `process` when it could not be started at all. */
  constructor(state: LabState, namespace: string, options: ProcessOptions) {
    const path = join(state.directory, `${options.name}.log`);
    const output = openSync(path, 'a');
    const enter =
      options.view === 'pod'
        ? ['ip', 'netns', 'exec', namespace]
        : ['nsenter', `--net=/run/netns/${namespace}`];
    const [program = '', ...args] = [...enter, ...options.argv];
    this.child = spawn(program, args, {
      cwd: state.directory,
      env: { ...process.env, ...options.environment },
      detached: true,
      stdio: options.channel ? ['ignore', output, output, 'ipc'] : ['ignore', output, output],
    });
    closeSync(output);
    this.name = options.name;
    this.log = new LogFile(path);
    this.#exit = new Promise((resolve) => {
      this.child.once('error', () => resolve(127));
      this.child.once('exit', (code) => resolve(code ?? 1));
    });
    const identity = this.child.pid === undefined ? undefined : identifyProcess(this.child.pid);
    if (identity === undefined) throw new LabError('process', `Could not start "${options.argv.join(' ')}"`);
    this.identity = identity;
    state.addProcess(identity);
    void this.#exit.then((status) => {
      state.removeProcess(identity);
      this.#ended.abort(
        new LabError('process', `Process "${this.name}" ended with status ${status}:\n${this.#tail()}`),
      );
    });
  }

  /** Aborted, with the reason, when the process has ended. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Awaits a line of its output; throws at once when the process ends instead. */
  waitForLine(
    pattern: RegExp,
    options: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    return this.log.waitFor(pattern, { ...options, signal: this.ended });
  }

  /** Sends a signal and awaits the end; after `timeoutMs` (default 10 s) SIGKILL. Returns the exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 10_000): Promise<number> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.#exit;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
    try {
      return await this.#exit;
    } finally {
      clearTimeout(timer);
    }
  }

  #tail(): string {
    return this.log.lines().slice(-8).join('\n');
  }

  /** Lets the process outlive this one. */
  release(): void {
    this.child.removeAllListeners();
    if (this.child.connected) this.child.disconnect();
    this.child.unref();
  }
}
