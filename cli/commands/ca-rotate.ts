// `weft ca rotate`: begins a rotation of the mesh's root, or takes its next step. The running controller does it: it is
// the only writer of its state. The right to ask for it is to be able to read the state directory.

import type { Command } from 'commander';
import { defaultControllerAdminUrl } from '../admin-client.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly state: string;
  readonly admin: string;
  readonly step?: true;
  readonly force?: true;
}

export function addCaRotate(ca: Command, context: CliContext): void {
  ca.command('rotate')
    .description('begin a rotation of the root; the further steps come by themselves')
    .option('--step', 'take the next step now if it breaks nobody, instead of beginning')
    .option(
      '--force',
      'take the next step now, although certificates in use fail by it: for a leaked root key',
    )
    .option('--state <dir>', "the controller's state directory", '/var/lib/weft')
    .option('--admin <url>', "the controller's admin address", baseUrl, defaultControllerAdminUrl)
    .addHelpText(
      'after',
      `
A rotation has three steps: the new root is trusted beside the old one; the new root signs; the old root goes. Each waits
until no valid certificate depends on what it ends, so a rotation takes about twice the life of a certificate. The
controller must run.

Examples:
  $ sudo weft ca rotate
  $ weft ca status
  $ sudo weft ca rotate --force        once or twice, when the old root key has leaked`,
    )
    .action(async ({ state, admin, step, force }: Options) => {
      const { rotateRoot } = await import('../show-rotation.ts');
      await rotateRoot({ state, admin, step: force ? 'force' : step ? 'advance' : 'start' }, context);
    });
}
