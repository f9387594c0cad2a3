// `weft token create`: a join token for a node, printed once and kept nowhere in clear.

import type { Command } from 'commander';
import { defaultStateDirectory } from '../config.ts';
import { seconds } from '../option-values.ts';
import { requiredOption } from '../required-options.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly node: string;
  readonly state: string;
  readonly lifetime?: number;
}

export function addTokenCreate(token: Command, context: CliContext): void {
  const command = token
    .command('create')
    .description('make a join token for one node and print it; it is shown once');
  requiredOption(command, '--node <name>', {
    description: 'the node that may use it, as named in the manifests',
  });
  command
    .option('--state <dir>', "the controller's state directory", defaultStateDirectory)
    .option('--lifetime <seconds>', 'how long it is good for (default: one year)', seconds)
    .addHelpText(
      'after',
      `
Examples:
  $ weft token create --node node-1 --state /var/lib/weft > node-1.token
  $ weft token create --node node-2 --lifetime 86400`,
    )
    .action(async ({ node, ...options }: Options) => {
      const { createToken } = await import('../stored-tokens.ts');
      context.out(`${await createToken(node, options)}\n`);
    });
}
