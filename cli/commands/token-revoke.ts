// `weft token revoke`: a join token that counts no more from now on.

import type { Command } from 'commander';
import { defaultStateDirectory } from '../config.ts';
import type { CliContext } from '../run-cli.ts';

export function addTokenRevoke(token: Command, context: CliContext): void {
  token
    .command('revoke')
    .description('end a join token: new calls with it are refused at once')
    .argument('<id>', 'its ID, as "weft token list" shows it')
    .option('--state <dir>', "the controller's state directory", defaultStateDirectory)
    .addHelpText(
      'after',
      `
Examples:
  $ weft token list
  $ weft token revoke 1f3a9c0d2b4e5f60`,
    )
    .action(async (id: string, { state }: { readonly state: string }) => {
      const { revokeToken } = await import('../stored-tokens.ts');
      await revokeToken(id, state);
      context.err(`Token ${id} is revoked\n`);
    });
}
