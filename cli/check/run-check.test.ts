import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import type { Terminal } from '../run-cli.ts';
import { whileTimePasses } from '../testing/while-time-passes.ts';
import { check } from './run-check.ts';

const terminal: Terminal = { ask: () => expect.unreachable() };

describe('weft check --wait of a cluster that does not answer', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-check-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function run(output: { readonly terminal?: Terminal }): Promise<{ err: string; passedMs: number }> {
    const kubeconfig = join(directory, 'kubeconfig');
    const config = {
      'current-context': 'a',
      // Nobody listens on port 1.
      clusters: [{ name: 'a', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'a', user: {} }],
      contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    const clock = new ManualClock();
    const began = clock.now();
    let err = '';
    const options = { kubeconfig, namespace: 'weft-system', wait: 5, output: 'text' } as const;
    const printed = { out: () => expect.unreachable(), err: (text: string) => (err += text), ...output };
    const work = check(options, printed, clock).catch((error: unknown) => error);
    expect(await whileTimePasses(clock, work, { stepMs: 10 })).toMatchObject({ code: 'unreachable' });
    return { err, passedMs: clock.now() - began };
  }

  test('looks again until the time is over, then says that it does not answer', async () => {
    const { err, passedMs } = await run({});
    expect(err).toBe('');
    expect(passedMs).toBeGreaterThanOrEqual(4_000);
  });

  test('shows a person what it waits for', async () => {
    expect((await run({ terminal })).err).toContain('waiting for the cluster to answer');
  });
});
