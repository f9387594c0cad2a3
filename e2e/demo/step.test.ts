import { expect, test } from 'vitest';
import { claim } from './demo-error.ts';
import { eventually } from './eventually.ts';
import { formatTable } from './measure.ts';
import { runSteps, type Step, type StepResult } from './step.ts';
import type { DemoWorld } from './world.ts';

/** The steps of these tests do not touch the world. */
const world = new Proxy(
  {},
  {
    get: (_target, name) => {
      throw new Error(`Unexpected use of ${String(name)}`);
    },
  },
) as DemoWorld;

const good: Step = { name: 'good', run: () => Promise.resolve('seen') };
const bad: Step = {
  name: 'bad',
  run: () => {
    claim(false, 'it does not hold');
    return Promise.resolve('never');
  },
};

test('a step that throws fails with its message, and the next one runs', async () => {
  const seen: StepResult[] = [];
  await runSteps(world, [bad, good], (result) => seen.push(result));
  expect(seen).toMatchObject([
    { step: 'bad', ok: false, detail: 'it does not hold' },
    { step: 'good', ok: true, detail: 'seen' },
  ]);
});

test('after an essential step has failed the others are reported as not run', async () => {
  const results = await runSteps(world, [{ ...bad, essential: true }, good], () => undefined);
  expect(results[1]).toMatchObject({ ok: false, detail: 'not run, because "bad" failed' });
});

test('eventually() returns the first result, and names the last reason when time is up', async () => {
  let attempts = 0;
  await expect(
    eventually('there', () => Promise.resolve(++attempts > 2 ? attempts : undefined)),
  ).resolves.toBe(3);
  const refused = eventually('there', () => Promise.reject(new Error('still closed')), 0);
  await expect(refused).rejects.toThrow('Within 0 s not there: still closed');
});

test('the table shows both measurements and their ratio', () => {
  const without = {
    gigabitsPerSecond: 10,
    roundTripP50: 50,
    roundTripP99: 90,
    connectionsPerSecond: 4000,
    failed: 0,
  };
  const withMesh = { ...without, gigabitsPerSecond: 5.04, connectionsPerSecond: 2000 };
  const lines = formatTable(without, withMesh);
  expect(lines).toHaveLength(5);
  expect(lines[1]).toMatch(/throughput.*10\.0 Gbit\/s +5\.0 Gbit\/s +0\.50$/);
  expect(lines[4]).toMatch(/4,000 \/s +2,000 \/s +0\.50$/);
});
