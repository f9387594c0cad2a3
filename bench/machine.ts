// What the figures were taken on: results of different machines or versions must not be compared unknowingly.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';

export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
  /** Of TCP, which the namespaces inherit: BBR paces, CUBIC does not. */
  readonly congestionControl: string;
  readonly node: string;
  /** OpenSSL of node, which Weft uses. */
  readonly openssl: string;
  readonly nginx: string;
  readonly haproxy: string;
  /** Commit of the measured sources; ends in "+" when files differ from it. */
  readonly commit: string;
}

export function describeMachine(): Machine {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGB: Math.round(totalmem() / 1e9),
    congestionControl: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
    node: process.versions.node,
    openssl: process.versions.openssl,
    nginx: firstMatch(['nginx', '-v'], /nginx\/(\S+)/),
    haproxy: firstMatch(['haproxy', '-v'], /version (\S+)/),
    commit: firstMatch(['git', 'describe', '--always', '--dirty=+', '--exclude=*'], /(\S+)/),
  };
}

function firstMatch([program = '', ...args]: readonly string[], pattern: RegExp): string {
  const { stdout, stderr } = spawnSync(program, args, { cwd: import.meta.dirname, encoding: 'utf8' });
  return pattern.exec(`${stdout ?? ''}${stderr ?? ''}`)?.[1] ?? 'unknown';
}
