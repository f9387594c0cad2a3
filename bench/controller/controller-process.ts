// The controller as its own process, as an operator runs it, and what can be read of it from outside: its metrics,
// its resident memory and the CPU time it took.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { residentBytes } from '../process-usage.ts';

export interface ControllerStart {
  readonly kubeconfig: string;
  readonly stateDir: string;
  readonly grpcPort: number;
  readonly adminPort: number;
  /** Flags of node, such as `--cpu-prof`. */
  readonly nodeFlags: readonly string[];
}

const main = join(import.meta.dirname, '../../controller/main.ts');
const ticksPerSecond = 100;
const startTimeoutMs = 60_000;

export class ControllerProcess {
  readonly #process: ChildProcess;
  readonly #adminPort: number;

  private constructor(process: ChildProcess, adminPort: number) {
    this.#process = process;
    this.#adminPort = adminPort;
  }

  /** Resolves when nodes may connect. */
  static async start(options: ControllerStart): Promise<ControllerProcess> {
    const { kubeconfig, stateDir, grpcPort, adminPort, nodeFlags } = options;
    const flags = [
      ...['--kubeconfig', kubeconfig, '--state', stateDir, '--log-level', 'warn'],
      ...['--address', `127.0.0.1:${grpcPort}`, '--admin', `127.0.0.1:${adminPort}`],
    ];
    const child = spawn(process.execPath, [...nodeFlags, main, ...flags], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    // Also when the benchmark is ended by a signal.
    process.on('exit', () => child.kill('SIGKILL'));
    const late = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
    const ended = once(child, 'exit').then(([status]) => {
      throw new Error(`The controller ended with status ${status} before it was ready, or took too long`);
    });
    // Nobody waits for it once the controller is ready.
    ended.catch(() => {});
    await Promise.race([once(child, 'message'), ended]).finally(() => clearTimeout(late));
    return new ControllerProcess(child, adminPort);
  }

  /** Value of each metric without labels, and of those with labels under their whole name. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`http://127.0.0.1:${this.#adminPort}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(
      lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
    );
  }

  residentBytes(): number {
    return residentBytes([this.#pid]);
  }

  /** VmHWM. */
  peakBytes(): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** User and system time so far, in seconds; steps of 10 ms. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.#pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill(signal);
    await ended;
  }

  get #pid(): number {
    return this.#process.pid as number;
  }
}
