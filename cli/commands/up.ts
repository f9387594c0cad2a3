// `weft up`: a controller and the tunnel of this machine from one command, for a mesh of one machine. Two child
// processes; when one ends the other is stopped, so there is never half a mesh.

import { hostname } from 'node:os';
import type { Command } from 'commander';
import { listenAddress } from '../option-values.ts';
import { requiredOption } from '../required-options.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly config: string;
  readonly state: string;
  readonly node: string;
  readonly address: string;
}

export function addUp(program: Command, context: CliContext): void {
  const command = program
    .command('up')
    .description('run the mesh on this one machine: controller and ztunnel together (needs root)');
  requiredOption(command, '--config <dir>', {
    description: 'directory of manifests; changes take effect at once',
  });
  command
    .option('--state <dir>', 'directory for the root certificate and tokens', '/var/lib/weft')
    .option(
      '--node <name>',
      'name of this machine in the manifests (spec.nodeName)',
      hostname().toLowerCase(),
    )
    .option('--address <ip:port>', 'where the controller listens', listenAddress, '127.0.0.1:15012')
    .addHelpText(
      'after',
      `
Examples:
  $ sudo weft up --config ./manifests
  $ sudo weft up --config ./manifests --node node-1 --state ./state

Ctrl-C ends both. The pods are those of the manifests with spec.nodeName of this machine and the annotation
weft.dev/netns; see docs/ARCHITECTURE.md.`,
    )
    .action(async (options: Options) => {
      const { runTogether } = await import('../run-together.ts');
      context.setStatus(await runTogether(options));
    });
}
