// `weft controller`: becomes the controller program.

import type { Command } from 'commander';
import { listenAddress, seconds } from '../option-values.ts';
import { becomeProgram } from '../program-files.ts';
import { requiredOption } from '../required-options.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly config: string;
  readonly state: string;
  readonly address: string;
  readonly certificateLife?: number;
  readonly serverName?: readonly string[];
  readonly admin?: string;
  readonly logLevel?: string;
  readonly logFormat?: string;
}

export function addController(program: Command, _context: CliContext): void {
  const command = program
    .command('controller')
    .description('compile a directory of manifests, serve it to the nodes and sign their certificates');
  requiredOption(command, '--config <dir>', {
    description: 'directory of manifests; changes take effect at once',
  });
  requiredOption(command, '--state <dir>', {
    description: 'directory for the root certificate and join tokens',
  });
  requiredOption(command, '--address <ip:port>', {
    description: 'where nodes connect to',
    parse: listenAddress,
  });
  command
    .option('--server-name <name...>', 'further DNS names and addresses by which nodes dial it')
    .option('--certificate-life <seconds>', 'life of workload certificates (default: 24 hours)', seconds)
    .option('--admin <ip:port>', 'metrics, health and dumps (default: 127.0.0.1:15014)', listenAddress)
    .option('--log-level <level>', 'trace, debug, info, warn or error (default: info)')
    .option('--log-format <format>', 'text or json (default: json)')
    .addHelpText(
      'after',
      `
Examples:
  $ weft controller --config ./manifests --state /var/lib/weft --address 192.0.2.10:15012
  $ weft token create --node node-1 --state /var/lib/weft > node-1.token`,
    )
    .action((options: Options) => {
      becomeProgram('controller', {
        config: options.config,
        state: options.state,
        address: options.address,
        'server-name': options.serverName,
        'certificate-life': options.certificateLife?.toString(),
        admin: options.admin,
        'log-level': options.logLevel,
        'log-format': options.logFormat,
      });
    });
}
