import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab, type LabHost } from '../lab/lab.ts';

const isRoot = process.getuid?.() === 0;
const cli = join(import.meta.dirname, '../../cli/main.ts');
const manifests = join(import.meta.dirname, '../demo/manifests/base');

describe.skipIf(!isRoot)('weft up (needs root)', () => {
  let lab: Lab;
  let machine: LabHost;
  let state: string;

  beforeAll(() => {
    lab = Lab.open('cliup');
    machine = lab.addNode('machine');
    state = mkdtempSync(join(tmpdir(), 'weft-up-state-'));
  });
  afterAll(async () => {
    await lab?.close();
    rmSync(state, { recursive: true });
  });

  const up = (name: string, config: string) =>
    lab.spawn(machine, {
      name,
      argv: [process.execPath, cli, 'up', '--config', config, '--node', 'no-such.node', '--state', state],
    });

  test('runs controller and ztunnel together, and takes everything along when it is asked to end', async () => {
    const running = up('up', manifests);
    await running.waitForLine(/configuration complete/, { timeoutMs: 20_000 });
    const status = lab.spawn(machine, { name: 'status', argv: [process.execPath, cli, 'status'] });
    expect(await status.stop('SIGCONT')).toBe(0);
    expect(status.log.text()).toMatch(/knows +6 workloads, 2 services/);
    expect(existsSync('/sys/fs/bpf/weft/no-such-node')).toBe(true);
    expect(await running.stop('SIGINT')).toBe(0);
    expect(existsSync('/sys/fs/bpf/weft/no-such-node')).toBe(false);
    expect(readdirSync(join(state, 'tokens'))).toEqual([]);
  });

  test('ends with the reason when the controller cannot start', async () => {
    const failing = up('failing', join(state, 'nowhere'));
    await failing.waitForLine(/controller ended with status 1 before it was ready/, { timeoutMs: 20_000 });
    expect(await failing.stop('SIGCONT')).toBe(1);
  });
});
