// What the figures were taken on: results of different machines or versions must not be compared unknowingly.

import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';

export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
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
