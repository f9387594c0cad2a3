// `weft ztunnel`: becomes the node's tunnel program.

import type { Command } from 'commander';
import { hostPort } from '../option-values.ts';
import { becomeProgram } from '../program-files.ts';
import { requiredOption } from '../required-options.ts';
import type { CliContext } from '../run-cli.ts';

interface Options {
  readonly node: string;
  readonly controller: string;
  readonly tokenFile: string;
  readonly rootCert: string;
  readonly pinDir?: string;
  readonly stateDir?: string;
  readonly onExit?: string;
  readonly workers?: string;
  readonly logLevel?: string;
  readonly logFormat?: string;
}

export function addZtunnel(program: Command, _context: CliContext): void {
  const command = program
    .command('ztunnel')
    .description('capture and tunnel the traffic of the pods on this node (needs root)');
  requiredOption(command, '--node <name>', { description: 'name of this node, as in the manifests' });
  requiredOption(command, '--controller <host:port>', {
    description: 'where the controller listens',
    parse: hostPort,
  });
  requiredOption(command, '--token-file <file>', { description: "file with this node's join token" });
  requiredOption(command, '--root-cert <file>', {
    description: "root-cert.pem of the controller's state directory",
  });
  command
    .option('--pin-dir <dir>', 'bpffs directory of the capture that outlives the process, or "none"')
    .option(
      '--state-dir <dir>',
      'what is kept across restarts: roots learned in a root rotation (default: /var/lib/weft/ztunnel/NODE), or "none"',
    )
    .option('--on-exit <what>', '"keep" pods captured at an orderly end (default), or "release" them')
    .option('--workers <count>', 'data threads (default: 1)')
    .option('--log-level <level>', 'trace, debug, info, warn or error (default: info)')
    .option('--log-format <format>', 'text or json (default: text)')
    .addHelpText(
      'after',
      `
Example:
  $ sudo weft ztunnel --node node-1 --controller 192.0.2.10:15012 --token-file node-1.token --root-cert root-cert.pem

Every setting can also come from the environment: WEFT_ and the name, for example WEFT_WORKERS=2.`,
    )
    .action((options: Options) => {
      becomeProgram('ztunnel', {
        node: options.node,
        controller: options.controller,
        'token-file': options.tokenFile,
        'root-cert': options.rootCert,
        'pin-dir': options.pinDir,
        'state-dir': options.stateDir,
        'on-exit': options.onExit,
        workers: options.workers,
        'log-level': options.logLevel,
        'log-format': options.logFormat,
      });
    });
}
