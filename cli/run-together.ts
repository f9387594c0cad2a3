// Controller and ztunnel as two children of `weft up`. Owns their order (the controller first, the token between) and
// their common end; what they print goes to the terminal as it comes. Asked to end, it also ends the capture of pods;
// after a crash the capture stays, so that pods are refused rather than let through unprotected.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { JoinTokens } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { CliError } from './cli-error.ts';
import { type ProgramFlags, type ProgramName, programArgv } from './program-files.ts';

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
  const pair = new ProgramPair();
  const onSignal = (): void => pair.end();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const secrets = await mkdtemp(join(tmpdir(), 'weft-up-'));
  const tokens = new JoinTokens({ stateDir: resolve(options.state), clock: systemClock });
  let tokenId: string | undefined;
  try {
    await startController(pair, options);
    if (!pair.asked) {
      const { token, record } = await tokens.create(options.node);
      tokenId = record.id;
      await writeFile(join(secrets, 'token'), token, { mode: 0o600 });
      startTunnel(pair, { options, tokenFile: join(secrets, 'token') });
    }
    const status = await pair.ended();
    return pair.asked ? 0 : status || 1;
  } finally {
    pair.end();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    if (tokenId !== undefined) await tokens.revoke(tokenId);
    await rm(secrets, { recursive: true, force: true });
  }
}

/** Two programs that end together. */
class ProgramPair {
  readonly #children: ChildProcess[] = [];
  #asked = false;

  /** Whether the end was asked for, rather than one having ended by itself. */
  get asked(): boolean {
    return this.#asked;
  }

  /** In a group of its own: a Ctrl-C reaches it through this process only, once. */
  start(name: ProgramName, flags: ProgramFlags): ChildProcess {
    const [program = '', ...args] = programArgv(name, flags);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    child.stdout.on('data', (chunk: Buffer) => process.stdout.write(chunk));
    child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    this.#children.push(child);
    return child;
  }

  /** Asks all to end, the tunnel first. */
  end(): void {
    this.#asked = true;
    this.#stopAll();
  }

  /** Awaits that one ends, ends the other, and resolves with the status of the first. */
  async ended(): Promise<number> {
    const all = this.#children.map(exitOf);
    const first = await Promise.race(all);
    this.#stopAll();
    await Promise.all(all);
    return first;
  }

  #stopAll(): void {
    for (const child of this.#children.toReversed()) child.kill('SIGTERM');
  }
}

async function startController(pair: ProgramPair, options: TogetherOptions): Promise<void> {
  const state = resolve(options.state);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const flags = { config: resolve(options.config), state, address: options.address, 'log-format': 'text' };
  const controller = pair.start('controller', flags);
  const ready = untilReady(controller);
  const status = await Promise.race([ready, exitOf(controller)]);
  if (status === 'ready' || pair.asked) return;
  throw new CliError(
    'failed',
    `The controller ended with status ${status} before it was ready; its output is above`,
  );
}

function startTunnel(
  pair: ProgramPair,
  { options, tokenFile }: { options: TogetherOptions; tokenFile: string },
): void {
  pair.start('ztunnel', {
    node: options.node,
    controller: options.address,
    'token-file': tokenFile,
    'root-cert': join(resolve(options.state), 'root-cert.pem'),
    // The root file is the controller's own, always of today.
    'state-dir': 'none',
    'on-exit': 'release',
  });
}

function untilReady(controller: ChildProcess): Promise<'ready'> {
  return new Promise((settle) => {
    let seen = '';
    const streams = [controller.stdout, controller.stderr];
    const look = (chunk: Buffer): void => {
      seen = (seen + chunk.toString()).slice(-8192);
      if (!controllerReady.test(seen)) return;
      for (const stream of streams) stream?.off('data', look);
      settle('ready');
    };
    for (const stream of streams) stream?.on('data', look);
  });
}

/** The exit status; 1 for an end by a signal. */
async function exitOf(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? 1;
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
