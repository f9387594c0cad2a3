import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { identifyProcess } from '../../lab/process-identity.ts';
import { cgroupName, cgroupRoots, makeCgroups } from './cgroups.ts';
import { beginRun, endRun, type Run } from './runs.ts';

const isRoot = process.getuid?.() === 0;
const reason = isRoot ? '' : ' (skipped: needs root)';

describe.skipIf(!isRoot)(`runs of local clusters${reason}`, () => {
  const runs: Run[] = [];
  afterEach(async () => {
    for (const run of runs.splice(0)) await endRun(run);
  });

  async function begin(): Promise<Run> {
    const run = await beginRun();
    runs.push(run);
    return run;
  }
  const groupsOf = (name: string): string[] =>
    cgroupRoots().flatMap((root) => readdirSync(root).filter((entry) => entry === cgroupName(name, 'n1')));

  test('begin by removing what a killed one left, and leave alone what runs', async () => {
    const held = spawn('sleep', ['60']);
    const killed = spawnSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).stdout.trim();
    try {
      const alive = leave('1-1', identifyProcess(held.pid ?? 0));
      const dead = leave('1-2', { pid: Number(killed), startTicks: 1 });
      await begin();
      expect(existsSync(dead)).toBe(false);
      expect(groupsOf('1-2')).toEqual([]);
      expect(existsSync(alive)).toBe(true);
      expect(groupsOf('1-1')).toHaveLength(cgroupRoots().length);
    } finally {
      held.kill('SIGKILL');
      await once(held, 'exit');
      await endRun({ name: '1-1', directory: '/var/lib/weft-e2e/1-1' });
    }
  });

  test('end without a trace', async () => {
    const run = await begin();
    makeCgroups(run.name, 'n1');
    await endRun(run);
    expect(existsSync(run.directory)).toBe(false);
    expect(groupsOf(run.name)).toEqual([]);
  });

  function leave(name: string, owner: object | undefined): string {
    const directory = join('/var/lib/weft-e2e', name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'owner.json'), JSON.stringify(owner));
    makeCgroups(name, 'n1');
    return directory;
  }
});
