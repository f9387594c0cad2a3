// Runs the short system commands of the lab (ip, sysctl writes) to their end. Blocking on purpose: they take
// milliseconds, and a clean-up on Ctrl-C must finish before anything else happens.

import { spawnSync } from 'node:child_process';
import { LabError } from './lab-error.ts';

/** Runs a program to its end and returns its standard output; throws with its error output when it fails. */
export function command(argv: readonly string[], input = ''): string {
  const [program = '', ...args] = argv;
  const result = spawnSync(program, args, { input, encoding: 'utf8', timeout: 20_000 });
  if (result.error !== undefined || result.status !== 0) {
    const reason = result.error?.message ?? (result.stderr.trim() || `exit status ${result.status}`);
    throw new LabError('command', `Running "${argv.join(' ')}" failed: ${reason}`, { cause: result.error });
  }
  return result.stdout;
}

/** Runs `ip` commands, one a line, inside a namespace. */
export function ipBatch(namespace: string, lines: readonly string[]): void {
  command(['ip', '-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Writes kernel settings of one network namespace, keys as below /proc/sys. */
export function writeSettings(namespace: string, settings: Readonly<Record<string, string>>): void {
  const script = Object.entries(settings).map(([key, value]) => `echo ${value} > /proc/sys/${key}`);
  command(['nsenter', `--net=/run/netns/${namespace}`, 'sh', '-e', '-c', script.join('\n')]);
}

/** Names of all network namespaces under /run/netns. */
export function listNamespaces(): string[] {
  return command(['ip', 'netns', 'list'])
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
}
