// `weft config dump`: everything the ztunnel of this machine, or a waypoint, knows, as JSON.

import type { Command } from 'commander';
import { askAdmin, defaultAdminUrl } from '../admin-client.ts';
import { baseUrl } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

export function addConfigDump(config: Command, context: CliContext): void {
  config
    .command('dump')
    .description(
      'print what the ztunnel of this machine, or a waypoint, knows: workloads, services, policies, routes, certificates',
    )
    .option('--admin <url>', "the ztunnel's or waypoint's admin address", baseUrl, defaultAdminUrl)
    .addHelpText(
      'after',
      `
Examples:
  $ weft config dump
  $ weft config dump | jq .policies
  $ sudo ip netns exec gate-1 weft config dump | jq .routings        a waypoint in another network namespace`,
    )
    .action(async ({ admin }: { readonly admin: string }) => {
      const body = await askAdmin(admin, '/config_dump');
      context.out(body.endsWith('\n') ? body : `${body}\n`);
    });
}
