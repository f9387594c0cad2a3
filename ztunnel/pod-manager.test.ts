import { describe, expect, test } from 'vitest';
import { ip, makeNodePod } from '../mesh/model/fixture.ts';
import { PodWorld } from './testing/pod-world.ts';
import { leavingLingerMs } from './worker-messages.ts';

const starting = makeNodePod('a');
const running = { ...starting, addresses: [ip('10.0.0.1')] };

describe('PodManager', () => {
  test('fetches the certificate of a pod that has not started, and holds up nobody for it', () => {
    using world = new PodWorld();
    world.tell(starting);
    expect(world.certificates.wanted).toEqual(['spiffe://cluster.local/ns/shop/sa/default']);
    expect(world.stateOf(starting)).toBe('pending: waiting for its start');
    expect(world.settled).toBeGreaterThan(0);
  });

  test('captures by the model when the pod has an address, a process and a certificate', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.tell(running);
    const settled = world.settled;
    expect(world.stateOf(starting)).toBe('pending: waiting for its certificate');
    world.run(running, 'one');
    world.issue(running);
    expect(world.captured).toEqual(new Map([['a', '10.0.0.1']]));
    expect(world.settled).toBeGreaterThan(settled);
  });

  test('captures a sandbox as soon as the certificate is there, and not again when the model follows', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    expect(world.stateOf(starting)).toBe('pending: waiting for its certificate');
    world.issue(starting);
    expect(world.captured).toEqual(new Map([['a', '10.0.0.1']]));
    world.tell(running); // would throw for a second capture
    expect(world.stateOf(starting)).toBe('captured');
    expect(world.held).toBe(1);
  });

  test('knows a captured sandbox by its processes once it has some, and notices their end', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.issue(starting);
    world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    world.clock.advance(5_000);
    expect(world.stateOf(starting)).toBe('captured');
    world.run(running, 'one');
    world.tell(running);
    world.end(running);
    world.clock.advance(1_000);
    expect(world.captured.size).toBe(0);
    expect(world.stateOf(starting)).toBe('pending: its sandbox has ended');
    world.clock.advance(15_000);
    expect(world.stateOf(starting)).toMatch(/^failed: No process/);
  });

  test('believes the CNI step about addresses as long as the sandbox lives', () => {
    using world = new PodWorld();
    world.tell(running);
    world.issue(running);
    world.pods.startSandbox(running.uid, world.sandbox('s2', 'two', '10.0.0.2'));
    world.tell({ ...running, addresses: [ip('10.0.0.1'), ip('10.0.0.9')] });
    expect(world.captured).toEqual(new Map([['a', '10.0.0.2']]));
  });

  test('a sandbox made anew for the same pod takes the place of the old one', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.issue(starting);
    world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    world.pods.startSandbox(starting.uid, world.sandbox('s2', 'two', '10.0.0.2'));
    world.pods.endSandbox('s1'); // late: means nothing any more
    expect(world.captured).toEqual(new Map([['a', '10.0.0.2']]));
    expect(world.held).toBe(1);
  });

  test('a sandbox that takes the place of one found by its processes is captured', () => {
    using world = new PodWorld();
    world.run(running, 'one');
    world.tell(running);
    world.issue(running);
    expect(world.captured.get(running.uid)).toBe('10.0.0.1');
    world.pods.startSandbox(running.uid, world.sandbox('s2', 'two', '10.0.0.2'));
    expect(world.captured.get(running.uid)).toBe('10.0.0.2');
  });

  test('the same sandbox told twice changes nothing', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.issue(starting);
    for (let i = 0; i < 2; i++) world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    expect([world.captured.size, world.held]).toEqual([1, 1]);
  });

  test('a sandbox that ended is let go at once, and looked for later if no other one came', () => {
    using world = new PodWorld();
    world.tell(running);
    world.issue(running);
    world.pods.startSandbox(running.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    world.pods.endSandbox('s1');
    expect([world.captured.size, world.held]).toEqual([0, 0]);
    expect(world.stateOf(running)).toBe('pending: its sandbox has ended');
    world.run(running, 'two');
    world.clock.advance(14_999);
    expect(world.captured.size).toBe(0);
    world.clock.advance(1);
    expect(world.captured.get(running.uid)).toBe('10.0.0.1');
  });

  test('tries again what failed, and gives up nothing of the sandbox meanwhile', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.issue(starting);
    world.trouble = 'no memory';
    world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    expect(world.stateOf(starting)).toBe('failed: no memory');
    world.trouble = undefined;
    world.clock.advance(60_000);
    expect(world.captured.get(starting.uid)).toBe('10.0.0.1');
  });

  test('a pod that leaves takes its sandbox along; one that nobody knows has none', () => {
    using world = new PodWorld();
    world.tell(starting);
    world.issue(starting);
    world.pods.startSandbox(starting.uid, world.sandbox('s1', 'one', '10.0.0.1'));
    world.tell({ ...starting, enrolled: false });
    expect([world.captured.size, world.held]).toEqual([0, 0]);
    expect(world.pods.knownPod('uid-a')?.enrolled).toBe(false);
    world.pods.startSandbox(starting.uid, world.sandbox('s2', 'two', '10.0.0.1'));
    expect(world.held).toBe(0);
    world.forget('a');
    expect(world.pods.knownPod('uid-a')).toBeUndefined();
    world.clock.advance(3_600_000);
    expect(world.certificates.wanted).toEqual([]);
  });

  test('a pod that is let go gets its last answers for some seconds; one that is gone gets none', () => {
    using world = new PodWorld();
    for (const how of ['let go', 'gone']) {
      world.run(running, 'one');
      world.tell(running);
      world.issue(running);
      if (how === 'gone') world.forget('a');
      else world.tell({ ...running, enrolled: false });
      expect([world.captured.size, world.settledPods.length]).toEqual([0, how === 'gone' ? 1 : 0]);
      world.clock.advance(leavingLingerMs);
      expect(world.settledPods).toEqual([running.uid]);
    }
  });

  test('a pod whose address is taken away waits for its next start', () => {
    using world = new PodWorld();
    world.run(running, 'one');
    world.tell(running);
    world.issue(running);
    world.tell(starting);
    expect(world.captured.size).toBe(0);
    expect(world.stateOf(starting)).toBe('pending: waiting for its start');
  });
});
