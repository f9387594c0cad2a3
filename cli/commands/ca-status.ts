// `weft ca status`: the root certificates of the mesh and how far a rotation has come.

import type { Command } from 'commander';
import { defaultControllerAdminUrl } from '../admin-client.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

export function addCaStatus(ca: Command, context: CliContext): void {
  ca.command('status')
    .description('show which root signs, which are trusted, and when the next step of a rotation is due')
    .option('--admin <url>', "the controller's admin address", baseUrl, defaultControllerAdminUrl)
    .addHelpText(
      'after',
      `
Example:
  $ weft ca status`,
    )
    .action(async ({ admin }: { readonly admin: string }) => {
      const { showRotation } = await import('../show-rotation.ts');
      await showRotation(admin, context);
    });
}
