// `npm run test:kube`: the tests against a real kube-apiserver and etcd. Finds or builds the programs, then runs vitest
// in its own network, process and mount namespace: nothing in there reaches any network, and when it ends, however it
// ends, the kernel takes every process, port and file along. Arguments go to vitest.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findGatewayCrds } from './gateway-crds.ts';
import { type Isolation, isolationEnv } from './isolation.ts';
import { findPrograms, type Programs } from './programs.ts';
import { RigError } from './rig-error.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const say = (text: string): void => console.error(`test:kube: ${text}`);

async function main(): Promise<number> {
  let programs: Programs;
  try {
    programs = await findPrograms({ env: process.env, onBuild: say });
  } catch (error) {
    if (!(error instanceof RigError)) throw error;
    const mustRun = Boolean(process.env['CI']) || error.code === 'BUILD_FAILED';
    say(mustRun ? `failed: ${error.message}` : `skipped: ${error.message}`);
    return mustRun ? 1 : 0;
  }
  const gatewayCrds = await findGatewayCrds();
  if (gatewayCrds === undefined) say('Gateway API is left out: its Go module could not be fetched');
  const stateRoot = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  try {
    const isolation = { programs, stateRoot, ...(gatewayCrds === undefined ? {} : { gatewayCrds }) };
    return await runIsolated(isolation, process.argv.slice(2));
  } finally {
    // What the tests wrote was on a file system of their namespace: this is the empty folder it was mounted on.
    rmSync(stateRoot, { recursive: true, force: true });
  }
}

function runIsolated(isolation: Isolation, filters: readonly string[]): Promise<number> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const config = join(root, 'e2e/kubernetes/vitest.config.ts');
  const script = 'ip link set lo up && mount -t tmpfs -o mode=0700 weft-kube "$0" && exec "$@"';
  const inside = [
    isolation.stateRoot,
    process.execPath,
    vitest,
    'run',
    '--root',
    root,
    '--config',
    config,
    ...filters,
  ];
  // Without root a user namespace gives the same powers over the namespaces made with it.
  const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const namespaces = ['--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  // setpriv: when this process is killed, so is everything it started.
  const argv = [
    '--pdeathsig',
    'KILL',
    'unshare',
    ...user,
    ...namespaces,
    '--',
    'sh',
    '-c',
    script,
    ...inside,
  ];
  const child = spawn('setpriv', argv, {
    stdio: 'inherit',
    env: { ...process.env, ...isolationEnv(isolation) },
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(new RigError('PROGRAMS_MISSING', `Cannot run "setpriv" (package util-linux): ${cause.message}`)),
    );
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

process.exitCode = await main();
