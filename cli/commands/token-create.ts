// `weft token create`: a join token for a node or a waypoint, printed once and kept nowhere in clear.

import type { Command } from 'commander';
import { defaultStateDirectory } from '../config.ts';
import { seconds } from '../option-values.ts';
import { CliError } from '../cli-error.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly node?: string;
  readonly waypoint?: string;
  readonly state: string;
  readonly lifetime?: number;
}

export function addTokenCreate(token: Command, context: CliContext): void {
  token
    .command('create')
    .description('make a join token for one node or one waypoint and print it; it is shown once')
    .option('--node <name>', 'the node that may use it, as named in the manifests')
    .option('--waypoint <namespace/name>', 'the waypoint that may use it: its Gateway')
    .option('--state <dir>', "the controller's state directory", defaultStateDirectory)
    .option('--lifetime <seconds>', 'how long it is good for (default: one year)', seconds)
    .addHelpText(
      'after',
      `
Examples:
  $ weft token create --node node-1 --state /var/lib/weft > node-1.token
  $ weft token create --node node-2 --lifetime 86400
  $ weft token create --waypoint shop/waypoint > waypoint.token`,
    )
    .action(async ({ node, waypoint, ...options }: Options) => {
      const bearer = bearerOf(node, waypoint);
      const { createToken } = await import('../stored-tokens.ts');
      context.out(`${await createToken(bearer, options)}\n`);
    });
}

function bearerOf(node: string | undefined, waypoint: string | undefined) {
  if (node !== undefined && waypoint === undefined) return { node };
  if (waypoint !== undefined && node === undefined) return { waypoint };
  throw new CliError(
    'usage',
    'Option "--node <name>" or "--waypoint <namespace/name>" must be given, one of both: whose token it is; see weft token create --help',
  );
}
