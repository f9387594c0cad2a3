// `weft check`: whether the mesh of a cluster works, and if not, why and what to do.

import { type Command, Option } from 'commander';
import { seconds } from '../option-values.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string;
  readonly wait?: number;
  readonly output: 'text' | 'json';
}

export function addCheck(program: Command, context: CliContext): void {
  program
    .command('check')
    .description('find what is wrong with the mesh of a Kubernetes cluster, and say what to do about it')
    .option('--kubeconfig <file>', 'cluster to look at (default: KUBECONFIG, then ~/.kube/config)')
    .option('--context <name>', 'context of the kubeconfig (default: its current one)')
    .option('--namespace <name>', 'namespace of the mesh', 'weft-system')
    .option('--wait <seconds>', 'look again until all is well, for as long as this', seconds)
    .addOption(new Option('--output <format>', 'text or json').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      `
Looks at the API server, our definitions, the controller, the tunnel of every node, kernels, clocks, certificates, captured
pods, waypoints and NetworkPolicies. Changes nothing.

Examples:
  $ weft check
  $ weft install --image IMAGE | kubectl apply --server-side -f - && weft check --wait 60
  $ weft check --output json | jq '.checks[].findings[]'

Exit status 1 when something is wrong. What is marked ! is worth knowing and does not count.`,
    )
    .action(async (options: Options) => {
      const { check } = await import('../check/run-check.ts');
      context.setStatus(await check(options, context));
    });
}
