import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { listNamespaces } from '../lab/command.ts';
import { leftoverLabs, removeLab } from '../lab/lab-state.ts';
import type { StepResult } from './step.ts';

const isRoot = process.getuid?.() === 0;
const program = join(import.meta.dirname, 'main.ts');

interface Demo {
  readonly status: number | null;
  readonly lines: readonly string[];
  readonly err: string;
}

/** Runs the demo; `onLine` may kill it. */
function demo(
  args: readonly string[],
  onLine?: (line: string, kill: (signal: NodeJS.Signals) => void) => void,
): Promise<Demo> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
      for (const line of chunk.split('\n').slice(0, -1)) onLine?.(line, (signal) => child.kill(signal));
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      err += chunk;
    });
    child.on('close', (status) => resolve({ status, lines: out.trimEnd().split('\n'), err }));
  });
}

/** The command line of every process that the demo's lab started: they begin in its directory. */
function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && directoryOf(entry).startsWith('/run/weft-lab/demo'))
    .map((pid) => readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' '));
}

function directoryOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** What must not be there any more when the demo has ended. */
function traces(): unknown {
  return {
    namespaces: listNamespaces().filter((name) => name.startsWith('weft-demo-')),
    processes: commandLines(),
    pins: existsSync('/sys/fs/bpf/weft-demo'),
    state: leftoverLabs().includes('demo'),
  };
}

const nothing = { namespaces: [], processes: [], pins: false, state: false };

describe.skipIf(!isRoot)('npm run demo (needs root)', () => {
  afterAll(() => removeLab('demo'));

  test('proves every step and leaves nothing behind', { timeout: 240_000 }, async () => {
    const { status, lines, err } = await demo(['--json']);
    const results = lines.map((line) => JSON.parse(line) as StepResult);
    const failed = results.filter((result) => result.ok === false);
    expect(failed, err).toEqual([]);
    expect(results.map((result) => result.step)).toEqual([
      'plaintext before the label',
      'label added, captured live',
      'mutual TLS on the wire',
      'balanced by Service address and name',
      'the app sees the client',
      'policy cuts and refuses live',
      'STRICT refuses, PERMISSIVE admits',
      'endpoint killed under load',
      'certificates rotate under load',
      'controller stopped, traffic goes on',
      'IPv6 as IPv4',
      'waypoint in front of a Service',
      'canary 95/5, then 0/100',
      'A/B by header and by query',
      'mirrored to the new version',
      'injected delay and abort',
      'retry and timeout',
      'rate limit per identity',
      'JWT-protected path',
      'circuit opens and closes',
      'gRPC by method',
      'waypoint killed under load',
      'table',
    ]);
    expect(status).toBe(0);
    expect(traces()).toEqual(nothing);
  });

  test('removes everything on Ctrl-C', { timeout: 60_000 }, async () => {
    const { status } = await demo(['--json'], (_line, kill) => kill('SIGINT'));
    expect(status).toBe(130);
    expect(traces()).toEqual(nothing);
  });

  test('removes at the next start what a crash left', { timeout: 60_000 }, async () => {
    await demo(['--json'], (_line, kill) => kill('SIGKILL'));
    expect(traces()).not.toEqual(nothing);
    expect(await demo(['--clean'])).toMatchObject({ status: 0, err: '' });
    expect(traces()).toEqual(nothing);
  });
});

test('the demo answers wrong arguments with 64 and its usage', async () => {
  expect(await demo(['--jason'])).toMatchObject({
    status: 64,
    err: expect.stringContaining('Usage: npm run demo'),
  });
});
