// Controller and ztunnel as two children of `weft up`. Owns their order (the controller first, the token between) and
// their common end; what they print goes to the terminal as it comes.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { JoinTokens } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { CliError } from './cli-error.ts';
import { programArgv } from './program-files.ts';

export interface TogetherOptions {
  readonly config: string;
  readonly state: string;
  readonly node: string;
  readonly address: string;
}

/** The controller logs this when it serves. */
const controllerReady = /controller is ready/;

/** Runs until one of both ends or a signal asks for the end; resolves with the exit status. */
export async function runTogether(options: TogetherOptions): Promise<number> {
  const state = resolve(options.state);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const secrets = await mkdtemp(join(tmpdir(), 'weft-up-'));
  const children: ChildProcess[] = [];
  let asked = false;
  const end = (): void => {
    for (const child of children.toReversed()) child.kill('SIGTERM');
  };
  const onSignal = (): void => {
    asked = true;
    end();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    const controller = start('controller', {
      config: resolve(options.config),
      state,
      address: options.address,
    });
    children.push(controller);
    await untilReady(controller);
    const tokenFile = join(secrets, 'token');
    const tokens = new JoinTokens({ stateDir: state, clock: systemClock });
    const { token } = await tokens.create(options.node, { lifeSeconds: 10 * 365 * 86_400 });
    await writeFile(tokenFile, token, { mode: 0o600 });
    const files = { 'token-file': tokenFile, 'root-cert': join(state, 'root-cert.pem') };
    const tunnel = start('ztunnel', { node: options.node, controller: options.address, ...files });
    children.push(tunnel);
    const ended = children.map(exitOf);
    const first = await Promise.race(ended);
    end();
    await Promise.all(ended);
    return asked ? 0 : first || 1;
  } finally {
    end();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await rm(secrets, { recursive: true, force: true });
  }
}

/** In a group of its own: a Ctrl-C reaches it through this process only, once. */
function start(name: 'controller' | 'ztunnel', flags: Readonly<Record<string, string>>): ChildProcess {
  const [program = '', ...args] = programArgv(name, flags);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  child.stdout.on('data', (chunk: Buffer) => process.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk));
  return child;
}

async function untilReady(controller: ChildProcess): Promise<void> {
  let seen = '';
  const ready = new Promise<void>((settle) => {
    const look = (chunk: Buffer): void => {
      seen = (seen + chunk.toString()).slice(-8192);
      if (!controllerReady.test(seen)) return;
      for (const stream of [controller.stdout, controller.stderr]) stream?.off('data', look);
      settle();
    };
    for (const stream of [controller.stdout, controller.stderr]) stream?.on('data', look);
  });
  const failed = exitOf(controller).then((status) => {
    throw new CliError(
      'failed',
      `The controller ended with status ${status} before it was ready; its output is above`,
    );
  });
  await Promise.race([ready, failed]);
  failed.catch(() => undefined);
}

async function exitOf(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null) return child.exitCode;
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
