// `weft controller`: becomes the controller program.

import type { Command } from 'commander';
import { controllerConfig, controllerSettings } from '../../controller/config.ts';
import { becomeProgram, flagArguments } from '../program-files.ts';
import type { CliContext } from '../run-cli.ts';
import { addSettings, assertSettings } from '../setting-options.ts';

export function addController(program: Command, _context: CliContext): void {
  const command = program
    .command('controller')
    .description('compile a directory of manifests, serve it to the nodes and sign their certificates');
  const flagsGiven = addSettings(command, controllerSettings);
  command
    .addHelpText(
      'after',
      `
Examples:
  $ weft controller --config ./manifests --state /var/lib/weft --address 192.0.2.10:15012
  $ weft token create --node node-1 --state /var/lib/weft > node-1.token

Every setting can also come from the environment: WEFT_ and the name, for example WEFT_LOG_LEVEL=debug.
Each is explained in docs/CONFIGURATION.md.`,
    )
    .action(() => {
      const flags = flagsGiven();
      assertSettings(command, controllerConfig(flagArguments(flags)));
      becomeProgram('controller', flags);
    });
}
