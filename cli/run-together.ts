// Controller and ztunnel as two children of `weft up`. Owns their order (the controller first, the token between) and
// their common end. Capture is released only when the user asked for the end: after anything else it stays, so that
// pods are refused rather than let through unprotected.

import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { JoinTokens } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { CliError } from './cli-error.ts';
import type { UpConfig } from './config.ts';
import { programArgv } from './program-files.ts';
import { endText, type ProgramEnd, ProgramPair } from './program-pair.ts';
import type { CliOutput } from './run-cli.ts';

/** SIGHUP: the terminal is gone, and nobody can press Ctrl-C any more. */
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs until one of both ends or a signal asks for the end; resolves with the exit status. */
export async function runTogether(config: UpConfig, output: CliOutput): Promise<number> {
  const pair = new ProgramPair(output);
  const onSignal = (): void => pair.askToEnd();
  // Stay to the last moment, also without a terminal: what is captured must not depend on who reads the log.
  for (const signal of endSignals) process.on(signal, onSignal);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignore);
  const secrets = await mkdtemp(join(tmpdir(), 'weft-up-'));
  const tokens = new JoinTokens({ stateDir: resolve(config.state), clock: systemClock });
  let tokenId: string | undefined;
  try {
    await startController(pair, config);
    if (!pair.asked) {
      const { token, record } = await tokens.create(config.node);
      tokenId = record.id;
      const tokenFile = join(secrets, 'token');
      await writeFile(tokenFile, token, { mode: 0o600 });
      if (!pair.asked) startTunnel(pair, { config, tokenFile });
    }
    return await untilEnded(pair, output);
  } finally {
    if (!pair.asked) pair.endRest();
    await pair.allEnds();
    for (const signal of endSignals) process.off(signal, onSignal);
    for (const stream of [process.stdout, process.stderr]) stream.off('error', ignore);
    if (tokenId !== undefined) await tokens.revoke(tokenId);
    await rm(secrets, { recursive: true, force: true });
  }
}

async function untilEnded(pair: ProgramPair, output: CliOutput): Promise<number> {
  const first = await pair.firstEnd();
  if (!pair.asked) {
    const fate = 'ending the other; captured pods stay captured, and so refused, until the next start';
    output.err(`weft up: the ${first.name} ${endText(first)} by itself; ${fate}\n`);
    pair.endRest();
    await pair.allEnds();
    return first.code === 0 || first.code === null ? 1 : first.code;
  }
  const failed = (await pair.allEnds()).filter(({ code }) => code !== 0);
  for (const end of failed) output.err(`weft up: the ${end.name} ${endText(end)}\n`);
  return failed.length === 0 ? 0 : 1;
}

async function startController(pair: ProgramPair, config: UpConfig): Promise<void> {
  const state = resolve(config.state);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const argv = programArgv('controller', {
    config: resolve(config.config),
    state,
    address: config.address,
    admin: config.admin,
    'certificate-life': `${config['certificate-life']}`,
    'log-level': config['log-level'],
    'log-format': config['log-format'],
  });
  const { child, ended } = pair.start('controller', argv, { signalAlone: 'SIGTERM' });
  const first: ProgramEnd | 'ready' = await Promise.race([untilReady(child), ended]);
  if (first === 'ready' || pair.asked) return;
  throw new CliError('failed', `The controller ${endText(first)} before it was ready; its output is above`);
}

/** Asked to end it releases its pods, so when nobody asked it is not asked: SIGKILL leaves capture in the kernel. */
function startTunnel(
  pair: ProgramPair,
  { config, tokenFile }: { readonly config: UpConfig; readonly tokenFile: string },
): void {
  const argv = programArgv('ztunnel', {
    node: config.node,
    controller: config.address,
    'token-file': tokenFile,
    'root-cert': join(resolve(config.state), 'root-cert.pem'),
    // The root file is the controller's own, always of today.
    'state-dir': 'none',
    'on-exit': 'release',
    workers: `${config.workers}`,
    'certificate-life': `${config['certificate-life']}`,
    'log-level': config['log-level'],
    'log-format': config['log-format'],
  });
  pair.start('ztunnel', argv, { signalAlone: 'SIGKILL' });
}

/** The controller says so by itself, whatever its log level. Never resolves if it ends before. */
function untilReady(controller: ChildProcess): Promise<'ready'> {
  return new Promise((settle) => {
    controller.on('message', (message) => {
      if (message === 'ready') settle('ready');
    });
  });
}

function ignore(): void {}
