// Runs a program where an API server may be started: in network, process and mount namespaces of its own. Nothing in there
// reaches any network, and when it ends, however it ends, the kernel takes every process, port and file along.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Isolation, isolationEnv } from './isolation.ts';
import { RigError } from './rig-error.ts';

/** Resolves with the exit status of `argv`, which finds the isolation in its environment. Throws RigError. */
export async function runIsolated(
  isolation: Omit<Isolation, 'stateRoot'>,
  argv: readonly string[],
): Promise<number> {
  const stateRoot = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  try {
    return await spawnIsolated({ ...isolation, stateRoot }, argv);
  } finally {
    // What the program wrote was on a file system of its namespace: this is the empty folder it was mounted on.
    rmSync(stateRoot, { recursive: true, force: true });
  }
}

function spawnIsolated(isolation: Isolation, program: readonly string[]): Promise<number> {
  const script = 'ip link set lo up && mount -t tmpfs -o mode=0700 weft-kube "$0" && exec "$@"';
  // Without root a user namespace gives the same powers over the namespaces made with it.
  const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const namespaces = ['--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  const inside = ['sh', '-c', script, isolation.stateRoot, ...program];
  // setpriv: when this process is killed, so is everything it started.
  const argv = ['--pdeathsig', 'KILL', 'unshare', ...user, ...namespaces, '--', ...inside];
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
