import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ip, makeNodePod } from '../mesh/model/fixture.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import type { CniRequest } from './cni-request.ts';
import { CniStep } from './cni-step.ts';
import { PodWorld } from './testing/pod-world.ts';

/** A step over a PodWorld, and what it answered. */
class StepWorld extends PodWorld {
  isCurrent = true;
  readonly enrolled = new Set<string>();
  readonly counted: string[] = [];
  readonly step = new CniStep({
    pods: this.pods,
    isEnrolled: (namespace) => this.enrolled.has(namespace),
    isCurrent: () => this.isCurrent,
    openNetns: (path) => this.sandbox('', path.replaceAll('/', '-'), '10.0.0.1').netns,
    metrics: { cniRequest: (command, result) => this.counted.push(`${command} ${result}`) },
    clock: this.clock,
    logger: createLogger({ component: 'cni', level: 'silent' }),
  });

  /** What an ADD has come to when everything that waits for nothing has run. */
  async add(
    sandboxId = 's1',
    uid: string | undefined = 'uid-a',
    changes: Partial<Extract<CniRequest, { command: 'ADD' }>> = {},
  ): Promise<() => Promise<string>> {
    let answer = 'waiting';
    const pod = { namespace: 'shop', name: 'web', uid };
    const netnsPath = `/proc/1/fd/${sandboxId}`;
    const request = { command: 'ADD', sandboxId, pod, netnsPath, addresses, ...changes } as const;
    void this.step.handle(request).then(
      () => (answer = 'started'),
      (error: Error) => (answer = error.message),
    );
    return async () => {
      await turn();
      return answer;
    };
  }
}

const addresses = [ip('10.0.0.1')];
const starting = makeNodePod('a');

describe('CniStep', () => {
  test('a pod that is not enrolled starts at once, and is not touched', async () => {
    using world = new StepWorld();
    world.enrolled.add('shop');
    world.tell({ ...starting, enrolled: false });
    const answer = await world.add();
    expect(await answer()).toBe('started');
    expect(world.counted).toEqual(['ADD not-enrolled']);
  });

  test('an enrolled pod starts when it is captured', async () => {
    using world = new StepWorld();
    world.tell(starting);
    const answer = await world.add();
    expect(await answer()).toBe('waiting');
    world.issue(starting);
    expect(await answer()).toBe('started');
    expect(world.captured.get(starting.uid)).toBe('10.0.0.1');
    expect(world.counted).toEqual(['ADD captured']);
  });

  test('waits for a pod that is not known yet, whatever its namespace says', async () => {
    using world = new StepWorld();
    const answer = await world.add();
    expect(await answer()).toBe('waiting');
    world.issue(starting);
    world.tell(starting);
    expect(await answer()).toBe('started');
    expect(world.captured.size).toBe(1);
  });

  test('a pod that stays unknown starts after 5 s where its namespace is not enrolled', async () => {
    using world = new StepWorld();
    const answer = await world.add();
    world.clock.advance(4_999);
    expect(await answer()).toBe('waiting');
    world.clock.advance(1);
    expect(await answer()).toBe('started');
  });

  test('a pod that stays unknown does not start where its namespace is enrolled', async () => {
    using world = new StepWorld();
    world.enrolled.add('shop');
    const answer = await world.add();
    world.clock.advance(14_999);
    expect(await answer()).toBe('waiting');
    world.clock.advance(1);
    expect(await answer()).toContain('pod shop/web is in the mesh');
    expect(await answer()).toContain('the controller has not told of it');
    expect(world.counted).toEqual(['ADD refused']);
  });

  test('without a controller known pods are captured, others are decided by their namespace', async () => {
    using world = new StepWorld();
    world.tell(starting);
    world.issue(starting);
    world.isCurrent = false;
    expect(await (await world.add())()).toBe('started');
    expect(world.captured.size).toBe(1);
    expect(await (await world.add('s2', 'uid-b'))()).toBe('started');
    world.enrolled.add('shop');
    const answer = await world.add('s3', 'uid-c');
    expect(await answer()).toBe('waiting');
    world.clock.advance(15_000);
    expect(await answer()).toContain('and is not there');
  });

  test('says why a pod could not be captured in time, and lets its sandbox go', async () => {
    using world = new StepWorld();
    world.tell(starting);
    const answer = await world.add();
    world.clock.advance(15_000);
    expect(await answer()).toContain('waiting for its certificate');
    expect(world.held).toBe(0);
    world.issue(starting);
    expect(world.captured.size).toBe(0);
  });

  test('what fails is tried again while there is time', async () => {
    using world = new StepWorld();
    world.tell(starting);
    world.issue(starting);
    world.trouble = 'address not there yet';
    const answer = await world.add();
    expect(await answer()).toBe('waiting');
    world.trouble = undefined;
    world.clock.advance(1_000);
    expect(await answer()).toBe('started');
  });

  test('of two sandboxes of one pod the later one counts, and the earlier one is told', async () => {
    using world = new StepWorld();
    world.tell(starting);
    const first = await world.add('s1');
    const second = await world.add('s2');
    expect(await first()).toContain('another sandbox took its place');
    world.issue(starting);
    expect(await second()).toBe('started');
  });

  test('a static pod is not in the mesh', async () => {
    using world = new StepWorld();
    world.enrolled.add('shop');
    expect(await (await world.add('s1', '0123456789abcdef0123456789abcdef'))()).toBe('started');
  });

  test('what the runtime or other plugins do not tell keeps pods of the mesh from their start, and no others', async () => {
    using world = new StepWorld();
    const unnamed = { pod: { namespace: 'shop', name: 'web', uid: undefined } };
    expect(await (await world.add('s1', '', unnamed))()).toBe('started');
    world.enrolled.add('shop');
    expect(await (await world.add('s2', '', unnamed))()).toContain('does not say its UID');
    world.tell(starting);
    world.issue(starting);
    for (const [i, missing] of [{ addresses: [] }, { netnsPath: undefined }].entries())
      expect(await (await world.add(`t${i}`, 'uid-a', missing))()).toContain('gave it no address');
    world.tell({ ...starting, enrolled: false });
    expect(await (await world.add('u1', 'uid-a', { addresses: [] }))()).toBe('started');
  });

  test('a pod that leaves the mesh while it waits starts', async () => {
    using world = new StepWorld();
    world.tell(starting);
    const answer = await world.add();
    world.tell({ ...starting, enrolled: false });
    expect(await answer()).toBe('started');
    expect(world.held).toBe(0);
  });

  test('CHECK fails for a pod that should be captured and is not; DEL ends the capture', async () => {
    using world = new StepWorld();
    world.tell(starting);
    const pod = { namespace: 'shop', name: 'web', uid: 'uid-a' };
    const check: CniRequest = { command: 'CHECK', sandboxId: 's1', pod };
    await expect(world.step.handle(check)).rejects.toMatchObject({ code: 'not-captured' });
    world.issue(starting);
    expect(await (await world.add())()).toBe('started');
    await world.step.handle(check);
    await world.step.handle({ command: 'DEL', sandboxId: 's1' });
    expect(world.captured.size).toBe(0);
    expect(world.counted).toEqual(['CHECK refused', 'ADD captured', 'CHECK captured', 'DEL released']);
  });
});
