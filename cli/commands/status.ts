// `weft status`: whether the ztunnel of this machine works, and for whom.

import type { Command } from 'commander';
import { defaultAdminUrl } from '../admin-client.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly admin: string;
}

export function addStatus(program: Command, context: CliContext): void {
  program
    .command('status')
    .description('show whether the ztunnel of this machine works: pods, certificates, configuration')
    .option('--admin <url>', "the ztunnel's admin address", baseUrl, defaultAdminUrl)
    .addHelpText(
      'after',
      `
Examples:
  $ weft status
  $ sudo ip netns exec node-1 weft status        a ztunnel in another network namespace

Exit status 1 when a pod is not captured, a certificate is missing, or no ztunnel answers.`,
    )
    .action(async ({ admin }: Options) => {
      const { showStatus } = await import('../show-status.ts');
      context.setStatus(await showStatus(admin, context));
    });
}
