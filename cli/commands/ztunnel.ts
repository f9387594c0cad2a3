// `weft ztunnel`: becomes the node's tunnel program.

import type { Command } from 'commander';
import { ztunnelConfig, ztunnelSettings } from '../../ztunnel/config.ts';
import { becomeProgram, flagArguments } from '../program-files.ts';
import type { CliContext } from '../run-cli.ts';
import { addSettings, assertSettings } from '../setting-options.ts';

export function addZtunnel(program: Command, _context: CliContext): void {
  const command = program
    .command('ztunnel')
    .description('capture and tunnel the traffic of the pods on this node (needs root)');
  const flagsGiven = addSettings(command, ztunnelSettings);
  command
    .addHelpText(
      'after',
      `
Example:
  $ sudo weft ztunnel --node node-1 --controller 192.0.2.10:15012 --token-file node-1.token --root-cert root-cert.pem

Every setting can also come from the environment: WEFT_ and the name, for example WEFT_WORKERS=2.
Each is explained in docs/CONFIGURATION.md.`,
    )
    .action(() => {
      const flags = flagsGiven();
      assertSettings(command, ztunnelConfig(flagArguments(flags)));
      becomeProgram('ztunnel', flags);
    });
}
