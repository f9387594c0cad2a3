// Runs one program to its end and keeps what it wrote. Never throws for a bad exit status: what that means is the
// caller's business.

import { spawn } from 'node:child_process';
import { RigError } from './rig-error.ts';

export interface Finished {
  /** 128 + n for signal n, as in a shell. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: string | Buffer;
}

/** Rejects with RigError `COMMAND_FAILED` only if the program cannot be started. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const [program = '', ...args] = argv;
  const { cwd, env, stdin } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: 'pipe',
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A program that does not read its input to the end says why on stderr.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin ?? '');
    child.on('error', (cause) => {
      reject(new RigError('COMMAND_FAILED', `Cannot run "${program}": ${cause.message}`, { cause }));
    });
    child.on('close', (code, signal) => {
      const status = code ?? (signal === null ? 1 : 128);
      const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString('utf8');
      resolve({ status, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}
