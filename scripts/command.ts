// Runs one command of the project's own tools and gives back how it ended; it does not decide what that means.
// Node tools run on the Node that runs this script, so every check sees the same version.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The project's directory. */
export const projectRoot = join(import.meta.dirname, '..');

export interface CommandResult {
  /** Exit status; 127 when the program could not be started, 1 when a signal ended it. */
  readonly status: number;
  /** Standard output and error in the order they came. */
  readonly output: string;
}

export interface CommandOptions {
  /** Also write to the terminal as it comes. */
  readonly echo?: boolean;
}

/** Runs a script of this repository or of node_modules/.bin with arguments, in the project's directory. */
export function runNode(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, argv, {
      cwd: projectRoot,
      env: process.stdout.isTTY
        ? { ...process.env, FORCE_COLOR: '1' }
        : { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const take = (chunk: string): void => {
      output += chunk;
      if (options.echo) process.stdout.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', (error) => resolve({ status: 127, output: `${output}${error.message}\n` }));
    child.on('close', (code) => resolve({ status: code ?? 1, output }));
  });
}

/** The path of a tool in node_modules/.bin. */
export function tool(name: string): string {
  return join('node_modules', '.bin', name);
}

/** Whether a file of the project exists. */
export function projectHas(path: string): boolean {
  return existsSync(join(projectRoot, path));
}
