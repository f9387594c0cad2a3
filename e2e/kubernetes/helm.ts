// Helm as a user runs it, with the chart of this project. Its caches and settings are in the folder of the run, so nothing
// of the user's own is read or written.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Finished, run } from './command.ts';
import { helmProgram, stateRoot } from './isolation.ts';
import { RigError } from './rig-error.ts';

export const chartFolder = fileURLToPath(new URL('../../charts/weft/', import.meta.url));

/** Runs it to its end, whatever that is. */
export async function helm(
  args: readonly string[],
  { kubeconfig }: { readonly kubeconfig?: string } = {},
): Promise<Finished> {
  const env = {
    PATH: process.env['PATH'],
    HOME: join(stateRoot(), 'helm'),
    KUBECONFIG: kubeconfig ?? '/dev/null',
  };
  return await run([helmProgram(), ...args], { env });
}

/** What it printed. Throws RigError if it failed. */
export async function helmOk(
  args: readonly string[],
  options: { readonly kubeconfig?: string } = {},
): Promise<string> {
  const { status, stdout, stderr } = await helm(args, options);
  if (status === 0) return stdout;
  throw new RigError('COMMAND_FAILED', `Command helm ${args.join(' ')} failed: ${stderr.trim()}`);
}
