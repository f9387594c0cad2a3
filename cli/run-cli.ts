// The command tree, and how a command ends. Each command is a file of commands/, which loads what it needs when it
// runs, so `weft --help` starts fast. Wrong use names the nearest right word and ends with 64.

import { Command, CommanderError } from 'commander';
import { CliError, exitStatus } from './cli-error.ts';
import { addCaRotate } from './commands/ca-rotate.ts';
import { addCaStatus } from './commands/ca-status.ts';
import { addCheck } from './commands/check.ts';
import { addConfigDump } from './commands/config-dump.ts';
import { addController } from './commands/controller.ts';
import { addInstall } from './commands/install.ts';
import { addStatus } from './commands/status.ts';
import { addTokenCreate } from './commands/token-create.ts';
import { addTokenList } from './commands/token-list.ts';
import { addTokenRevoke } from './commands/token-revoke.ts';
import { addUncapture } from './commands/uncapture.ts';
import { addUninstall } from './commands/uninstall.ts';
import { addUp } from './commands/up.ts';
import { addValidate } from './commands/validate.ts';
import { addWaypoint } from './commands/waypoint.ts';
import { addZtunnel } from './commands/ztunnel.ts';
import { version } from '../mesh/runtime/version.ts';

export interface CliOutput {
  out(text: string): void;
  err(text: string): void;
  /** Present where a person is in front of it: standard input and output are a terminal. */
  readonly terminal?: Terminal;
}

export interface Terminal {
  /** The line that was typed in answer. */
  ask(question: string): Promise<string>;
}

/** What every command gets: where to print, and how to end with a status other than 0 without an error. */
export interface CliContext extends CliOutput {
  setStatus(status: number): void;
}

/** Runs one command; resolves with the exit status, never rejects for what a user did. */
export async function runCli(argv: readonly string[], output: CliOutput): Promise<number> {
  let status = 0;
  const context: CliContext = {
    out: (text) => output.out(text),
    err: (text) => output.err(text),
    ...(output.terminal !== undefined && { terminal: output.terminal }),
    setStatus: (value) => {
      status = value;
    },
  };
  try {
    await makeProgram(context).parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitStatus('usage');
    if (!(error instanceof CliError)) throw error;
    output.err(`error: ${error.message}\n`);
    return exitStatus(error.code);
  }
}

function makeProgram(context: CliContext): Command {
  const program = new Command('weft')
    .description('Weft: a service mesh without sidecars, for Kubernetes and plain Linux machines')
    .version(version())
    .exitOverride()
    .configureOutput({ writeOut: (text) => context.out(text), writeErr: (text) => context.err(text) })
    .showHelpAfterError('(--help shows what is possible)')
    .addHelpText(
      'after',
      `
Examples:
  $ sudo weft up --config ./manifests
  $ weft validate ./manifests
  $ weft status`,
    );
  addUp(program, context);
  addController(program, context);
  addZtunnel(program, context);
  addWaypoint(program, context);
  addInstall(program, context);
  addCheck(program, context);
  addUninstall(program, context);
  addValidate(program, context);
  addStatus(program, context);
  addUncapture(program, context);
  const config = groupOf(program, 'config', 'look into the configuration that a ztunnel or waypoint has');
  addConfigDump(config, context);
  const token = groupOf(
    program,
    'token',
    'join tokens, by which a node proves to the controller which node it is',
  );
  addTokenCreate(token, context);
  addTokenList(token, context);
  addTokenRevoke(token, context);
  const ca = groupOf(program, 'ca', "the mesh's root certificate and its rotation");
  addCaStatus(ca, context);
  addCaRotate(ca, context);
  return program;
}

/** A command that only has commands of its own. */
function groupOf(program: Command, name: string, description: string): Command {
  return program.command(name).description(description);
}
