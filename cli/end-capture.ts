// Takes pinned capture away. Refuses what is no instance of Weft, and an instance whose ztunnel runs: that one would go
// on believing that its pods are protected.

import { readdirSync } from 'node:fs';
import { Redirect } from '../bpf/redirect.ts';
import { pinDirectoryOf, type ZtunnelConfig } from '../ztunnel/config.ts';
import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

/** @throws CliError failed with the reason; nothing has changed then */
export async function endCapture(
  { directory, admin }: { readonly directory: string; readonly admin: string },
  output: CliOutput,
): Promise<void> {
  assertInstance(directory);
  await assertNotRunning(directory, admin);
  output.err(
    `warning: pods captured by "${directory}" are let through UNPROTECTED from now on: plain TCP, no policy\n`,
  );
  try {
    Redirect.removeInstance(directory);
  } catch (error) {
    throw new CliError('failed', `Could not end capture: ${(error as Error).message}`, { cause: error });
  }
  output.err('Capture has ended. Start the ztunnel to protect the pods again\n');
}

function assertInstance(directory: string): void {
  let versions: readonly string[];
  try {
    versions = readdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'nothing is pinned there, so nothing is captured' : `${code}; are you root?`;
    throw new CliError('failed', `Could not look into "${directory}": ${why}`, { cause: error });
  }
  if (!versions.every((name) => /^v\d+$/.test(name)))
    throw new CliError('failed', `"${directory}" holds something else than the capture of one ztunnel`);
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
