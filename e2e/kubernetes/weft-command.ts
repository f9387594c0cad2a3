// A command of the command line, run against an API server as a user with one kubeconfig does.

import { runCli } from '../../cli/run-cli.ts';
import type { ApiServer } from './api-server.ts';

export interface CommandResult {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Never throws for what the command says. */
export async function weft(
  { kubeconfig }: Pick<ApiServer, 'kubeconfig'>,
  ...args: readonly string[]
): Promise<CommandResult> {
  let out = '';
  let err = '';
  const output = { out: (text: string) => (out += text), err: (text: string) => (err += text) };
  const status = await runCli([...args, '--kubeconfig', kubeconfig], output);
  return { status, out, err };
}
