// A controller in a process of its own, as a pod would run it: with the arguments of the installed Deployment, but for
// what only a cluster with nodes can give (token mount, addresses), and a kubeconfig of the Deployment's ServiceAccount.

import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { programArgv } from '../../cli/program-files.ts';
import { BackgroundProgram } from './background-program.ts';
import { stateRoot } from './isolation.ts';
import { RigError } from './rig-error.ts';

export interface ControllerProcessOptions {
  readonly kubeconfig: string;
  /** Arguments of the Deployment's container. */
  readonly args: readonly string[];
}

interface LogLine {
  readonly message?: string;
  readonly msg?: string;
  readonly [field: string]: unknown;
}

const startTimeoutMs = 60_000;

export class ControllerProcess {
  readonly grpcPort: number;
  readonly adminPort: number;
  readonly #program: BackgroundProgram;
  /** Its state directory. */
  readonly state: string;

  private constructor(program: BackgroundProgram, state: string, ready: LogLine) {
    this.#program = program;
    this.state = state;
    this.grpcPort = Number(ready['grpcPort']);
    this.adminPort = Number(ready['adminPort']);
  }

  /** Resolves when it serves. Throws RigError `NOT_STARTED`. */
  static async start({ kubeconfig, args }: ControllerProcessOptions): Promise<ControllerProcess> {
    const folder = join(stateRoot(), `controller-${randomUUID().slice(0, 8)}`);
    mkdirSync(folder);
    const state = join(folder, 'state');
    const replaced = [
      `--kubeconfig=${kubeconfig}`,
      `--state=${state}`,
      '--address=127.0.0.1:0',
      '--admin=0.0.0.0:0',
    ];
    const names = replaced.map((argument) => argument.slice(0, argument.indexOf('=') + 1));
    const [program = '', ...kept] = args;
    if (program !== 'controller') throw new RigError('NOT_STARTED', `The container runs "${program}"`);
    const argv = [
      ...programArgv('controller', {}),
      ...kept.filter((argument) => !names.some((name) => argument.startsWith(name))),
      ...replaced,
    ];
    const running = new BackgroundProgram('controller', argv, { logFile: join(folder, 'log') });
    let ready: LogLine | undefined;
    await running.ready(async () => {
      ready = (await readLog(running.logFile)).find((line) => text(line) === 'controller is ready');
      return ready !== undefined;
    }, startTimeoutMs);
    return new ControllerProcess(running, state, ready as LogLine);
  }

  get running(): boolean {
    return this.#program.running;
  }

  /** PEM of every trusted root. */
  async roots(): Promise<string> {
    return await readFile(join(this.state, 'root-cert.pem'), 'utf8');
  }

  /** Messages so far. */
  async messages(): Promise<readonly string[]> {
    return (await readLog(this.#program.logFile)).map(text);
  }

  /** Lines so far that have this text, as they were written. */
  async linesWith(part: string): Promise<readonly string[]> {
    return (await readFile(this.#program.logFile, 'utf8')).split('\n').filter((line) => line.includes(part));
  }

  /** JSON of a page of the admin endpoint. */
  async page<T>(path: string): Promise<T> {
    return (await (await fetch(`http://127.0.0.1:${this.adminPort}${path}`)).json()) as T;
  }

  async stop(options: { readonly now?: boolean } = {}): Promise<void> {
    await this.#program.stop(options);
  }
}

function text({ message, msg }: LogLine): string {
  return message ?? msg ?? '';
}

/** Whole lines; the last one may still be being written. */
async function readLog(file: string): Promise<readonly LogLine[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1);
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine);
}
