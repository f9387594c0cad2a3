// `weft token list`: which nodes have join tokens. Never shows a secret; there is none to show.

import type { Command } from 'commander';
import { defaultStateDirectory } from '../config.ts';
import type { CliContext } from '../run-cli.ts';

export function addTokenList(token: Command, context: CliContext): void {
  token
    .command('list')
    .description('show the join tokens there are: ID, node, and until when')
    .option('--state <dir>', "the controller's state directory", defaultStateDirectory)
    .addHelpText(
      'after',
      `
Example:
  $ weft token list --state /var/lib/weft`,
    )
    .action(async ({ state }: { readonly state: string }) => {
      const { listTokens } = await import('../stored-tokens.ts');
      await listTokens(state, context);
    });
}
