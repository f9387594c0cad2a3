// `weft status`: whether the ztunnel of this machine, or a waypoint, works, and for whom.

import type { Command } from 'commander';
import { defaultAdminUrl, defaultControllerAdminUrl } from '../admin-client.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly admin: string;
  readonly controllerAdmin: string;
}

export function addStatus(program: Command, context: CliContext): void {
  program
    .command('status')
    .description(
      'show whether the mesh works on this machine: pods, certificates, configuration and its problems',
    )
    .option('--admin <url>', "the ztunnel's or waypoint's admin address", baseUrl, defaultAdminUrl)
    .option(
      '--controller-admin <url>',
      "the controller's, if it is on this machine",
      baseUrl,
      defaultControllerAdminUrl,
    )
    .addHelpText(
      'after',
      `
Examples:
  $ weft status
  $ sudo ip netns exec node-1 weft status        a ztunnel in another network namespace

Exit status 1 when a pod is not captured, a waypoint not ready, a certificate missing, or nothing answers. Objects that the controller
does not accept are shown, but do not count.`,
    )
    .action(async ({ admin, controllerAdmin }: Options) => {
      const { showStatus } = await import('../show-status.ts');
      const { showController } = await import('../show-controller.ts');
      context.setStatus(await showStatus(admin, context));
      await showController(controllerAdmin, context);
    });
}
