// `weft waypoint`: becomes the waypoint program.

import type { Command } from 'commander';
import { waypointConfig, waypointSettings } from '../../waypoint/config.ts';
import { becomeProgram, flagArguments } from '../program-files.ts';
import type { CliContext } from '../run-cli.ts';
import { addSettings, assertSettings } from '../setting-options.ts';

export function addWaypoint(program: Command, _context: CliContext): void {
  const command = program
    .command('waypoint')
    .description('serve the requests of what has a Gateway of class weft-waypoint as its waypoint');
  const flagsGiven = addSettings(command, waypointSettings);
  command
    .addHelpText(
      'after',
      `
Example:
  $ weft token create --waypoint shop/gate > gate.token
  $ weft waypoint --gateway shop/gate --controller 192.0.2.10:15012 --token-file gate.token --root-cert root-cert.pem

It serves once the controller knows the Gateway and has signed its certificate. In a cluster the controller runs it.
Every setting can also come from the environment: WEFT_ and the name, for example WEFT_WORKERS=2.
Each is explained in docs/CONFIGURATION.md.`,
    )
    .action(() => {
      const flags = flagsGiven();
      assertSettings(command, waypointConfig(flagArguments(flags)));
      becomeProgram('waypoint', flags);
    });
}
