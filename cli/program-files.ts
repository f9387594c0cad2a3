// The long-running programs behind the commands: where they are, and how they are started. A command that is one
// program becomes it (execve): same process, same signals, no memory for a parent that only waits.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CliError } from './cli-error.ts';

export type ProgramName = 'controller' | 'ztunnel';

/** Flags without their dashes; a list is a flag given several times, undefined one not given. */
export type ProgramFlags = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * What node itself is told. A young generation that stays small keeps 10 MB less of what the start left behind; the
 * data path makes no garbage for each chunk, so it is not collected more often (docs/PERFORMANCE.md).
 */
export const nodeFlags: Readonly<Record<ProgramName, readonly string[]>> = {
  controller: [],
  ztunnel: ['--max-semi-space-size=2'],
};

/** Program and arguments for execve or spawn. */
export function programArgv(name: ProgramName, options: ProgramFlags): string[] {
  const file = fileURLToPath(new URL(`../${name}/main.ts`, import.meta.url));
  if (!existsSync(file))
    throw new CliError('failed', `This installation has no ${name} (${file} is missing)`);
  const flags = Object.entries(options).flatMap(([flag, value = []]) =>
    [value].flat().flatMap((text) => [`--${flag}`, text]),
  );
  return [process.execPath, ...nodeFlags[name], file, ...flags];
}

/** Replaces this process by the program; returns only by throwing. */
export function becomeProgram(name: ProgramName, options: ProgramFlags): void {
  const argv = programArgv(name, options);
  if (process.execve === undefined)
    throw new CliError('failed', 'This Node has no execve; use the one that ./weft starts');
  process.execve(process.execPath, argv);
}
