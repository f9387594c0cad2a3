// Child processes that end together. Passes on what they print to the last byte, and asks each to end once for each
// time that the user asks. What becomes of the others when one ends by itself is said when they are started.

import { type ChildProcess, spawn } from 'node:child_process';
import type { CliOutput } from './run-cli.ts';

export interface ProgramEnd {
  readonly name: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Member {
  readonly child: ChildProcess;
  readonly ended: Promise<ProgramEnd>;
  readonly signalAlone: NodeJS.Signals;
  running: boolean;
}

export class ProgramPair {
  readonly #output: CliOutput;
  readonly #members: Member[] = [];
  #asked = false;

  constructor(output: CliOutput) {
    this.#output = output;
  }

  /** Whether the end was asked for, rather than one having ended by itself. */
  get asked(): boolean {
    return this.#asked;
  }

  /**
   * Starts a program in a group of its own: a Ctrl-C reaches it through this process only, once.
   * @param options.signalAlone what ends it when another one ended by itself
   */
  start(
    name: string,
    [program = '', ...args]: readonly string[],
    { signalAlone }: { readonly signalAlone: NodeJS.Signals },
  ): { readonly child: ChildProcess; readonly ended: Promise<ProgramEnd> } {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#output.out(text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#output.err(text));
    const ended = new Promise<ProgramEnd>((resolve) => {
      // Its output ends later than the process: only then it is over. A program that cannot be started says so here.
      child.on('close', (code, signal) => resolve({ name, code, signal }));
      child.on('error', (error) => this.#output.err(`${name}: ${error.message}\n`));
    });
    const member: Member = { child, ended, signalAlone, running: true };
    void ended.then(() => (member.running = false));
    this.#members.push(member);
    return { child, ended };
  }

  /** The user asks for the end: all are asked, the last started first. Asking again asks them again. */
  askToEnd(): void {
    this.#asked = true;
    this.#signal(() => 'SIGTERM');
  }

  /** Nobody asked: ends those that still run, each with its own signal. */
  endRest(): void {
    this.#signal(({ signalAlone }) => signalAlone);
  }

  firstEnd(): Promise<ProgramEnd> {
    return Promise.race(this.#members.map(({ ended }) => ended));
  }

  allEnds(): Promise<readonly ProgramEnd[]> {
    return Promise.all(this.#members.map(({ ended }) => ended));
  }

  #signal(signalFor: (member: Member) => NodeJS.Signals): void {
    for (const member of this.#members.toReversed()) {
      if (member.running) member.child.kill(signalFor(member));
    }
  }
}

/** `ended with status 1` or `was ended by SIGKILL`. */
export function endText({ code, signal }: ProgramEnd): string {
  return signal === null ? `ended with status ${code}` : `was ended by ${signal}`;
}
