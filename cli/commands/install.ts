// `weft install`: prints what a cluster needs to run the controller. It dials nobody: applying is the user's step, by
// the tool and with the rights they have.

import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly namespace?: string;
  readonly image?: string;
  readonly trustDomain?: string;
  readonly clusterId?: string;
  readonly ha?: true;
  readonly serviceMonitor?: true;
  readonly set: readonly string[];
}

export function addInstall(program: Command, context: CliContext): void {
  program
    .command('install')
    .description('print the manifests of a Kubernetes installation: definitions, rights, controller')
    .option('--namespace <name>', 'namespace of the controller (default: weft-system)')
    .option('--image <image>', 'image of Weft, with tag or digest; none is published yet')
    .option('--trust-domain <name>', 'first part of every identity (default: cluster.local)')
    .option('--cluster-id <id>', 'name of this cluster, in metrics and logs (default: Kubernetes)')
    .option('--ha', 'two replicas on different nodes, and a PodDisruptionBudget')
    .option('--service-monitor', 'also a ServiceMonitor; needs the Prometheus operator')
    .option(
      '--set <key=value>',
      'any other choice, as often as needed; docs/KUBERNETES.md lists them',
      collect,
      [],
    )
    .addHelpText(
      'after',
      `
Examples:
  $ weft install --image registry.example/weft:0.1.0 | kubectl apply --server-side -f -
  $ weft install --ha --trust-domain mesh.example --set log-level=debug > weft.yaml`,
    )
    .action(async (options: Options) => context.out(await install(options, context)));
}

async function install(options: Options, context: CliContext): Promise<string> {
  const { installSettingsOf } = await import('../install/set-values.ts');
  const { placeholderImage } = await import('../install/settings.ts');
  const { renderInstallation } = await import('../install/render.ts');
  const { namespace, image, ha, set, serviceMonitor } = options;
  const flags = { namespace, image, 'trust-domain': options.trustDomain, 'cluster-id': options.clusterId };
  const given = installSettingsOf(set, flags);
  if (ha === true && given.replicas === 1) {
    throw new CliError('usage', 'Options --ha and --set replicas=1 contradict each other; leave one out');
  }
  const settings = ha === true ? { ...given, replicas: given.replicas ?? 2 } : given;
  if (settings.image === placeholderImage) {
    context.err(`note: image "${placeholderImage}" is a placeholder; give yours by --image\n`);
  }
  return renderInstallation(settings, { serviceMonitor: serviceMonitor === true });
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
