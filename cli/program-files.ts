// The long-running programs behind the commands: where they are, and how they are started. A command that is one
// program becomes it (execve): same process, same signals, no memory for a parent that only waits.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FlagValues } from '../mesh/runtime/settings.ts';
import { CliError } from './cli-error.ts';

export type ProgramName = 'controller' | 'ztunnel' | 'waypoint';

const proxyFlags = ['--max-semi-space-size=2', '--expose-gc'];

/**
 * What node itself is told. A young generation that stays small keeps about 7 MB less of what the start left behind
 * (docs/PERFORMANCE.md); the data path makes no garbage for each chunk. With `gc` the heaps are made small once after
 * the start, another 7 MB.
 */
export const nodeFlags: Readonly<Record<ProgramName, readonly string[]>> = {
  controller: [],
  ztunnel: proxyFlags,
  waypoint: proxyFlags,
};

/** Program and arguments for execve or spawn. */
export function programArgv(name: ProgramName, options: FlagValues): string[] {
  const file = fileURLToPath(new URL(`../${name}/main.ts`, import.meta.url));
  if (!existsSync(file))
    throw new CliError('failed', `This installation has no ${name} (${file} is missing)`);
  return [process.execPath, ...nodeFlags[name], file, ...flagArguments(options)];
}

/** Flags as arguments; `=` keeps a value that begins with a dash one. */
export function flagArguments(options: FlagValues): string[] {
  return Object.entries(options).flatMap(([flag, value = []]) =>
    [value].flat().map((text) => `--${flag}=${text}`),
  );
}

/** Replaces this process by the program; returns only by throwing. */
export function becomeProgram(name: ProgramName, options: FlagValues): void {
  const argv = programArgv(name, options);
  if (process.execve === undefined)
    throw new CliError('failed', 'This Node has no execve; use the one that ./weft starts');
  process.execve(process.execPath, argv);
}
