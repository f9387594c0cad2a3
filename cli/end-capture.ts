// Ends capture that was left in the kernel, with a warning. Leaves an instance alone whose ztunnel runs: that one would
// go on believing that its pods are protected.

import { pinDirectoryOf, type ZtunnelConfig } from '../ztunnel/config.ts';
import { assertLeftCapture, endLeftCapture } from '../ztunnel/left-capture.ts';
import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

/** @throws CliError failed with the reason */
export async function endCapture(
  { directory, admin }: { readonly directory: string; readonly admin: string },
  output: CliOutput,
): Promise<void> {
  orFail(() => assertLeftCapture(directory));
  await assertNotRunning(directory, admin);
  output.err(
    `warning: pods captured by "${directory}" are let through UNPROTECTED from now on: plain TCP, no policy\n`,
  );
  orFail(() => endLeftCapture(directory));
  output.err('Capture has ended. Start the ztunnel to protect the pods again\n');
}

function orFail(work: () => void): void {
  try {
    work();
  } catch (error) {
    throw new CliError('failed', (error as Error).message, { cause: error });
  }
}

/** As far as this network namespace can tell. */
async function assertNotRunning(directory: string, admin: string): Promise<void> {
  let dump: string;
  try {
    dump = await askAdmin(admin, '/config_dump');
  } catch {
    return;
  }
  const { config } = JSON.parse(dump) as { readonly config: ZtunnelConfig };
  if (pinDirectoryOf(config) !== directory) return;
  throw new CliError('failed', `The ztunnel of node "${config.node}" runs, see ${admin}; stop it first`);
}
