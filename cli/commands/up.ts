// `weft up`: a controller, the tunnel and the waypoints of this machine from one command, for a mesh of one machine. Child
// processes; when controller or tunnel ends the other is stopped, so there is never half a mesh.

import type { Command } from 'commander';
import { upConfig, upSettings } from '../config.ts';
import type { CliContext } from '../run-cli.ts';
import { addSettings, assertSettings } from '../setting-options.ts';

export function addUp(program: Command, context: CliContext): void {
  const command = program
    .command('up')
    .description('run the mesh on this one machine: controller, ztunnel and waypoints together (needs root)');
  const flagsGiven = addSettings(command, upSettings);
  command
    .addHelpText(
      'after',
      `
Examples:
  $ sudo weft up --config ./manifests
  $ sudo weft up --config ./manifests --node node-1 --state ./state

Ctrl-C ends both and releases the pods; a second one does not wait for open connections. If one of both ends by
itself, the other is ended, too, and pods stay captured: they are refused until the next start.
A pod with the label gateway.networking.k8s.io/gateway-name and the service account of that Gateway gets a waypoint.
The pods are those of the manifests with spec.nodeName of this machine and the annotation weft.dev/netns; see
docs/CONFIGURATION.md. Every setting of the controller and the ztunnel can also come from the environment.`,
    )
    .action(async () => {
      const config = upConfig(flagsGiven());
      assertSettings(command, config);
      const { runTogether } = await import('../run-together.ts');
      context.setStatus(await runTogether(config.values, context));
    });
}
