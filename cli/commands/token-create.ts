// `weft token create`: a join token for a node, printed once and kept nowhere in clear.

import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
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
    .option('--state <dir>', "the controller's state directory", '/var/lib/weft')
    .option('--lifetime <seconds>', 'how long it is good for (default: one year)', seconds)
    .addHelpText(
      'after',
      `
Examples:
  $ weft token create --node node-1 --state /var/lib/weft > node-1.token
  $ weft token create --node node-2 --lifetime 86400`,
    )
    .action(async (options: Options) => context.out(`${await createToken(options)}\n`));
}

async function createToken({ node, state, lifetime }: Options): Promise<string> {
  const { JoinTokens } = await import('../../controller/identity/join-tokens.ts');
  const { systemClock } = await import('../../mesh/runtime/clock.ts');
  const tokens = new JoinTokens({ stateDir: state, clock: systemClock });
  try {
    const { token } = await tokens.create(node, lifetime === undefined ? {} : { lifeSeconds: lifetime });
    return token;
  } catch (error) {
    if (error instanceof RangeError) throw new CliError('usage', error.message, { cause: error });
    throw new CliError('failed', `Could not make a token in "${state}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}
