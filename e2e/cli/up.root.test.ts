import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Redirect } from '../../bpf/redirect.ts';
import { Lab, type LabHost } from '../lab/lab.ts';

const isRoot = process.getuid?.() === 0;
const cli = join(import.meta.dirname, '../../cli/main.ts');
const manifests = join(import.meta.dirname, '../demo/manifests/base');
const pins = '/sys/fs/bpf/weft/no-such-node';

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
    if (existsSync(pins)) Redirect.removeInstance(pins);
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
    expect(status.log.text()).toMatch(/knows +[1-9]\d* workloads, [1-9]\d* services/);
    expect(existsSync(pins)).toBe(true);
    expect(await running.stop('SIGINT')).toBe(0);
    expect(existsSync(pins)).toBe(false);
    expect(readdirSync(join(state, 'tokens'))).toEqual([]);
  });

  test.each([
    ['controller', 'ztunnel'],
    ['ztunnel', 'controller'],
  ])('keeps capture and says so when the %s is killed', async (victim, other) => {
    const running = up(`up-without-${victim}`, manifests);
    await running.waitForLine(/configuration complete/, { timeoutMs: 20_000 });
    const children = childrenOf(running.child.pid as number);
    process.kill(children.get(victim) as number, 'SIGKILL');
    const line = await running.waitForLine(/by itself/, { timeoutMs: 20_000 });
    expect(line).toContain(`the ${victim} was ended by SIGKILL by itself; ending the other`);
    expect(await running.stop('SIGCONT', 20_000)).toBe(1);
    expect(existsSync(`/proc/${children.get(other)}`)).toBe(false);
    expect(existsSync(pins)).toBe(true);
    expect(readdirSync(join(state, 'tokens'))).toEqual([]);
  });

  test('takes over what a killed one left, and releases it when its terminal goes away', async () => {
    expect(existsSync(pins)).toBe(true);
    const running = up('up-again', manifests);
    await running.waitForLine(/configuration complete/, { timeoutMs: 20_000 });
    expect(await running.stop('SIGHUP')).toBe(0);
    expect(existsSync(pins)).toBe(false);
  });

  test('ends with the reason when the controller cannot start', async () => {
    const failing = up('failing', join(state, 'nowhere'));
    await failing.waitForLine(/controller ended with status 1 before it was ready/, { timeoutMs: 20_000 });
    expect(await failing.stop('SIGCONT')).toBe(1);
  });
});

/** Pids of the programs that a process started, by name. */
function childrenOf(pid: number): ReadonlyMap<string, number> {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  return new Map(
    children.map((child) => {
      const argv = readFileSync(`/proc/${child}/cmdline`, 'utf8');
      return [argv.includes('/controller/main.ts') ? 'controller' : 'ztunnel', child] as const;
    }),
  );
}
