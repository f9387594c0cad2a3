// `weft uncapture`: ends capture that a ztunnel left in the kernel and that no ztunnel will take over.

import type { Command } from 'commander';
import { pinDirectoryOf } from '../../ztunnel/config.ts';
import { defaultAdminUrl } from '../admin-client.ts';
import { CliError } from '../cli-error.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly node?: string;
  readonly pinDir?: string;
  readonly admin: string;
}

export function addUncapture(program: Command, context: CliContext): void {
  program
    .command('uncapture')
    .description('end the capture that a ztunnel left behind when it crashed for good (needs root)')
    .option('--node <name>', 'name of its node')
    .option('--pin-dir <dir>', 'instead: its directory on bpffs')
    .option('--admin <url>', 'where it would answer if it ran after all', baseUrl, defaultAdminUrl)
    .addHelpText(
      'after',
      `
Example:
  $ sudo weft uncapture --node node-1

Pods whose ztunnel is away are refused. Afterwards they are let through UNPROTECTED: in plain TCP, without encryption,
identity and policy, until a ztunnel captures them again. To protect them instead, start the ztunnel.`,
    )
    .action(async ({ node, pinDir, admin }: Options) => {
      if ((node === undefined) === (pinDir === undefined))
        throw new CliError(
          'usage',
          'Either --node or --pin-dir says whose capture ends; see weft uncapture --help',
        );
      const { endCapture } = await import('../end-capture.ts');
      const directory = pinDir ?? pinDirectoryOf({ node: node ?? '', 'pin-dir': undefined });
      await endCapture({ directory: directory ?? '', admin }, context);
    });
}
