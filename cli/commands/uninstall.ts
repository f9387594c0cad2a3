// `weft uninstall`: ends capture on every node of a cluster and removes the installation.

import type { Command } from 'commander';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string;
  readonly crds?: true;
  readonly labels?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

export function addUninstall(program: Command, context: CliContext): void {
  program
    .command('uninstall')
    .description('end the mesh of a Kubernetes cluster: nodes first, then what was installed')
    .option('--kubeconfig <file>', 'cluster (default: KUBECONFIG, then ~/.kube/config)')
    .option('--context <name>', 'context of the kubeconfig (default: its current one)')
    .option('--namespace <name>', 'namespace of the mesh', 'weft-system')
    .option('--crds', 'also the definitions of our kinds, with every object of them')
    .option('--labels', 'also the labels by which namespaces and pods joined the mesh')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'say what would be removed, and remove nothing')
    .addHelpText(
      'after',
      `
Pods that were captured speak plain TCP afterwards. It may be run again after it was interrupted.

Examples:
  $ weft uninstall --dry-run
  $ weft uninstall --crds --yes

Exit status 1 when something is left, as on a node that is not Ready; what it is and how to remove it is printed.`,
    )
    .action(async (options: Options) => {
      const { uninstall } = await import('../uninstall/run-uninstall.ts');
      context.setStatus(await uninstall(options, context));
    });
}
