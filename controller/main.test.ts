import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-main-'));
  return () => rm(directory, { recursive: true, force: true });
});

interface RunOptions {
  /** May send a signal. */
  readonly onLine?: (line: string, kill: (signal: NodeJS.Signals) => void) => void;
  readonly environment?: Readonly<Record<string, string>>;
}

function run(args: readonly string[], { onLine = () => {}, environment = {} }: RunOptions = {}) {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      for (const line of chunk.split('\n')) onLine(line, (signal) => child.kill(signal));
    });
  }
  return new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
}

describe('weft controller', () => {
  it('exits 64 and names every wrong option', async () => {
    const { code, output } = await run(['--address', 'x', '--log-format', 'y']);
    expect(code).toBe(64);
    expect(output).toMatch(/--state.*\n.*--address.*\n.*--log-format/);
  });

  it('exits 64 for an option that does not exist', async () => {
    expect(await run(['--adress', 'x'])).toMatchObject({
      code: 64,
      output: expect.stringContaining("'--adress'"),
    });
  });

  it('takes settings from the environment, and says where a wrong one came from', async () => {
    const environment = { WEFT_CONFIG: directory, WEFT_STATE: directory, WEFT_CERTIFICATE_LIFE: 'abc' };
    expect(await run([], { environment })).toMatchObject({
      code: 64,
      output:
        'weft controller: WEFT_CERTIFICATE_LIFE must be a whole number of seconds from 10 to 604800, got "abc"\n',
    });
  });

  it('exits 1 when it cannot start', async () => {
    const args = ['--config', join(directory, 'nowhere'), '--state', join(directory, 'state')];
    const { code, output } = await run(args);
    expect(code).toBe(1);
    expect(output).toContain('it does not exist, check the path');
  });

  it('runs until SIGTERM and then exits 0', async () => {
    const addresses = ['--address', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const args = ['--config', directory, '--state', join(directory, 'state'), ...addresses];
    const { code, output } = await run(args, {
      onLine: (line, kill) => {
        if (line.includes('controller is ready')) kill('SIGTERM');
      },
    });
    expect(output).toContain('signal="SIGTERM"');
    expect(code).toBe(0);
  });

  it('ends on SIGTERM while it waits for an API server that does not answer', async () => {
    const kubeconfig = join(directory, 'kubeconfig');
    await writeFile(kubeconfig, unreachable);
    const addresses = ['--address', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const args = ['--kubeconfig', kubeconfig, '--state', join(directory, 'state'), ...addresses];
    const { code, output } = await run(args, {
      onLine: (line, kill) => {
        if (/warn|error/.test(line)) kill('SIGTERM');
      },
    });
    expect(output).toContain('signal="SIGTERM"');
    expect(output).not.toContain('cannot start');
    expect(code).toBe(0);
  });
});

/** Nothing listens on port 1 of loopback. */
const unreachable = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:1' } }],
  users: [{ name: 'u', user: { token: 't' } }],
  contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
  'current-context': 'x',
});
