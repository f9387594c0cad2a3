import { describe, expect, it } from 'vitest';
import type { SteeringProof } from '../bpf/steering-proof.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import type { ProbeResult } from './self-probe.ts';
import { SelfProbes } from './self-probes.ts';

const proved: ProbeResult = { kind: 'proved', proof: { process: 1, worker: 0, podUid: 'a' } };
const noAnswer: ProbeResult = { kind: 'failed', reason: 'NoAnswer', message: 'nobody answered' };
const noListener: ProbeResult = { kind: 'failed', reason: 'NoListener', message: 'nobody listens' };

function makePod(name: string): NodePod {
  return {
    uid: `Kubernetes//Pod/shop/${name}` as WorkloadUid,
    name,
    namespace: 'shop',
    serviceAccount: name,
    trustDomain: 'cluster.local',
    node: 'node-1',
    addresses: ['10.0.0.1' as IpAddress],
    netns: `/run/netns/${name}`,
    enrolled: true,
  };
}

/** Proofs whose outcome the test says; time stands still until it moves it. */
class Rig {
  readonly clock = new ManualClock();
  result: ProbeResult = proved;
  steering: SteeringProof | undefined = { kind: 'steered' };
  detached: string[] = [];
  reach: string | undefined;
  /** Of probes, as far as the test lets them: they end at once unless held. */
  held: (() => void)[] | undefined;
  underWay = 0;
  mostUnderWay = 0;
  readonly asked: string[] = [];
  readonly recaptured: string[] = [];
  changes = 0;
  readonly probes = new SelfProbes({
    redirect: {
      detachedHooks: () => this.detached,
      reattachHooks: () => {
        this.detached = [];
      },
      proveSteering: () => this.steering,
    },
    probe: async ({ podUid, family }) => {
      this.asked.push(`${podUid} ${family}`);
      this.underWay++;
      this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
      const { held } = this;
      if (held !== undefined) await new Promise<void>((resolve) => held.push(resolve));
      this.underWay--;
      return this.result;
    },
    outOfReach: () => this.reach,
    recapture: (uid, reason) => this.recaptured.push(`${uid} ${reason}`),
    onChange: () => {
      this.changes++;
    },
    metrics: { probed: () => {}, repaired: () => {} },
    clock: this.clock,
    logger: createLogger({ component: 'test', level: 'silent' }),
    random: () => 0.5,
    intervalMs: 5_000,
  });

  async capture(name: string): Promise<NodePod> {
    const pod = makePod(name);
    this.probes.podCaptured(pod, pod.netns);
    await this.settle();
    return pod;
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.settle();
  }

  /** Promises of what is under way. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('SelfProbes', () => {
  it('proves a pod at once, and again after the interval', async () => {
    const rig = new Rig();
    const { uid } = await rig.capture('web');
    expect(rig.probes.state(uid)).toMatchObject({ state: 'captured', since: rig.clock.now() });
    expect(rig.asked).toHaveLength(1);
    await rig.advance(4_999);
    expect(rig.asked).toHaveLength(1);
    await rig.advance(1);
    expect(rig.asked).toHaveLength(2);
    expect(rig.changes).toBe(1);
  });

  it('says that a pod has failed only after a second bad proof, and then captures it anew', async () => {
    const rig = new Rig();
    const { uid } = await rig.capture('web');
    rig.result = noListener;
    await rig.advance(5_000);
    expect(rig.probes.state(uid)?.state).toBe('captured');
    expect(rig.recaptured).toEqual([]);
    await rig.advance(500);
    expect(rig.probes.state(uid)).toMatchObject({ state: 'failed', reason: 'NoListener' });
    expect(rig.recaptured).toEqual([`${uid} NoListener`]);
  });

  it('gives a worker that is busy longer before it captures a pod anew', async () => {
    const rig = new Rig();
    const { uid } = await rig.capture('web');
    rig.result = noAnswer;
    await rig.advance(5_000);
    await rig.advance(500);
    expect(rig.probes.state(uid)).toMatchObject({ state: 'failed', reason: 'NoAnswer' });
    await rig.advance(5_000);
    expect(rig.recaptured).toEqual([]);
    await rig.advance(5_000);
    expect(rig.recaptured).toEqual([`${uid} NoAnswer`]);
  });

  it('says at once that a pod is bypassed', async () => {
    const rig = new Rig();
    rig.result = { kind: 'bypassed' };
    const { uid } = await rig.capture('web');
    expect(rig.probes.state(uid)).toMatchObject({ state: 'bypassed', reason: 'NotRedirected' });
    expect(rig.recaptured).toEqual([`${uid} NotRedirected`]);
  });

  it('repairs less and less often', async () => {
    const rig = new Rig();
    rig.result = { kind: 'bypassed' };
    await rig.capture('web');
    for (let minute = 0; minute < 10; minute++) await rig.advance(60_000);
    expect(rig.recaptured.length).toBeGreaterThan(5);
    expect(rig.recaptured.length).toBeLessThan(20);
  });

  it('changes nothing about a pod that a newer process has', async () => {
    const rig = new Rig();
    const { uid } = await rig.capture('web');
    rig.steering = { kind: 'superseded' };
    rig.result = { kind: 'failed', reason: 'WrongAnswer', message: 'the other one answers' };
    for (let i = 0; i < 5; i++) await rig.advance(5_000);
    expect(rig.asked.length).toBeGreaterThan(4);
    expect(rig.probes.state(uid)?.state).toBe('captured');
    expect(rig.recaptured).toEqual([]);
  });

  it('does not repair what it can not', async () => {
    const rig = new Rig();
    rig.reach = 'it is in another tree';
    const { uid } = await rig.capture('web');
    const expected = { state: 'bypassed', reason: 'CgroupOutside', message: 'it is in another tree' };
    expect(rig.probes.state(uid)).toMatchObject(expected);
    expect(rig.asked).toEqual([]);
    expect(rig.recaptured).toEqual([]);
  });

  it('has at most eight proofs under way, and gets to every pod', async () => {
    const rig = new Rig();
    rig.held = [];
    for (let i = 0; i < 20; i++) await rig.capture(`web-${i}`);
    expect(rig.mostUnderWay).toBe(8);
    const { held } = rig;
    for (let i = 0; i < 20; i++) {
      held.shift()?.();
      await rig.settle();
    }
    expect(rig.mostUnderWay).toBe(8);
    expect(new Set(rig.asked).size).toBe(20);
  });

  it('keeps the last states when it is closed, and proves nothing more', async () => {
    const rig = new Rig();
    const { uid } = await rig.capture('web');
    rig.probes.close();
    rig.result = { kind: 'bypassed' };
    await rig.advance(60_000);
    expect(rig.probes.state(uid)?.state).toBe('captured');
    expect(rig.asked).toHaveLength(1);
  });

  it('forgets a pod that is released, whatever is under way for it', async () => {
    const rig = new Rig();
    rig.held = [];
    const { uid } = await rig.capture('web');
    rig.probes.podReleased(uid);
    rig.held[0]?.();
    await rig.advance(60_000);
    expect(rig.probes.state(uid)).toBeUndefined();
    expect(rig.asked).toHaveLength(1);
  });
});
