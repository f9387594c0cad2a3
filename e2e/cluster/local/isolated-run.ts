// Runs a program, and with it a whole local cluster, in a network, process and mount namespace of its own. Nothing in
// there reaches any network, names meet nobody else's, and when it ends, however it ends, the kernel takes every
// process, link and mount along.

import { spawn } from 'node:child_process';
import { ClusterError } from '../cluster-error.ts';

export interface IsolatedRun {
  /** Of the process outside whose only child is process 1 inside. */
  readonly pid: number;
  /** Exit status. */
  readonly ended: Promise<number>;
  /** Ends everything in it at once. */
  kill(): void;
}

// A /run of its own, because names of network namespaces and locks are files there. The shell stays, as it is process 1
// there and takes in what others leave behind.
const script = 'mount -t tmpfs -o mode=755 weft-e2e /run && mkdir -p /run/netns && "$@"; exit $?';

export function runIsolated(argv: readonly string[], env: NodeJS.ProcessEnv): IsolatedRun {
  const namespaces = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--mount-proc'];
  // setpriv: when this process is killed, so is everything it started. A session of its own: a Ctrl-C reaches only this
  // process, which then ends the others in order.
  const command = ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--kill-child', '--', 'sh', '-c', script];
  const child = spawn('setpriv', [...command, 'weft-e2e', ...argv], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
    env,
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', (cause) => {
      const message = `Could not run setpriv (package util-linux): ${cause.message}`;
      reject(new ClusterError('unsupported', message, { cause }));
    });
    child.on('exit', (code) => resolve(code ?? 1));
  });
  return { pid: child.pid ?? 0, ended, kill: () => void child.kill('SIGKILL') };
}
