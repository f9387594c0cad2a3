// Controller, ztunnel and waypoints as children of `weft up`. Owns their order (the controller first, tokens between) and
// their common end. Capture is released only when the user asked for the end: after anything else it stays, so that
// pods are refused rather than let through unprotected.

import type { ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { systemClock } from '../mesh/runtime/clock.ts';
import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { UpConfig } from './config.ts';
import { programArgv } from './program-files.ts';
import { endText, type ProgramEnd, ProgramPair } from './program-pair.ts';
import type { CliOutput } from './run-cli.ts';
import { TokenFiles } from './token-files.ts';
import {
  type RunningWaypoint,
  type WantedWaypoint,
  WaypointProcesses,
  wantedWaypoints,
} from './waypoint-processes.ts';

/** SIGHUP: the terminal is gone, and nobody can press Ctrl-C any more. */
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs until controller or tunnel ends or a signal asks for the end; resolves with the exit status. */
export async function runTogether(config: UpConfig, output: CliOutput): Promise<number> {
  const pair = new ProgramPair(output);
  // They come and go with the manifests: none of them ends the others.
  const waypoints = new ProgramPair(output);
  let processes: WaypointProcesses | undefined;
  const onSignal = (): void => {
    void processes?.stop();
    for (const programs of [waypoints, pair]) programs.askToEnd();
  };
  // Stay to the last moment, also without a terminal: what is captured must not depend on who reads the log.
  for (const signal of endSignals) process.on(signal, onSignal);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignore);
  const tokens = await TokenFiles.open(resolve(config.state));
  try {
    await startController(pair, config);
    if (!pair.asked) {
      const tokenFile = await tokens.forNode(config.node);
      processes = waypointProcesses(waypoints, { config, tokens, output });
      if (!pair.asked) startTunnel(pair, { config, tokenFile });
      if (!pair.asked) processes.run();
    }
    return await untilEnded(pair, output);
  } finally {
    await processes?.stop();
    if (!pair.asked) for (const programs of [waypoints, pair]) programs.endRest();
    await Promise.all([waypoints.allEnds(), pair.allEnds()]);
    for (const signal of endSignals) process.off(signal, onSignal);
    for (const stream of [process.stdout, process.stderr]) stream.off('error', ignore);
    await tokens.revoke();
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

function waypointProcesses(
  programs: ProgramPair,
  parts: { readonly config: UpConfig; readonly tokens: TokenFiles; readonly output: CliOutput },
): WaypointProcesses {
  const { config, tokens, output } = parts;
  return new WaypointProcesses({
    clock: systemClock,
    wanted: async () => wantedWaypoints(await askController(config), config.node),
    prepare: (gateway) => tokens.forWaypoint(gateway),
    start: (wanted, tokenFile) => startWaypoint(programs, { config, tokenFile, wanted }),
    say: (text) => output.err(`weft up: ${text}\n`),
  });
}

/** In the network namespace of its pod; its pages take free ports of this one, which its log names. */
function startWaypoint(
  programs: ProgramPair,
  start: { readonly config: UpConfig; readonly tokenFile: string; readonly wanted: WantedWaypoint },
): RunningWaypoint {
  const { config, tokenFile, wanted } = start;
  const argv = programArgv('waypoint', {
    gateway: wanted.gateway,
    netns: wanted.netns,
    controller: config.address,
    'token-file': tokenFile,
    'root-cert': join(resolve(config.state), 'root-cert.pem'),
    'state-dir': 'none',
    'admin-port': '0',
    'metrics-port': '0',
    'readiness-port': '0',
    'certificate-life': `${config['certificate-life']}`,
    'log-level': config['log-level'],
    'log-format': config['log-format'],
  });
  const { child, ended } = programs.start(`waypoint ${wanted.gateway}`, argv, { signalAlone: 'SIGKILL' });
  return { ended, end: () => child.kill('SIGTERM') };
}

async function askController(config: UpConfig): Promise<string> {
  return await askAdmin(`http://${config.admin}`, '/config_dump', { program: 'controller' });
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
