import { describe, expect, it } from 'vitest';
import type { NodePod } from '../mesh/model/node-pod.ts';
import { podReference } from '../mesh/model/node-pod.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { Store } from '../mesh/state/store.ts';
import { CaptureReport } from './capture-report.ts';
import type { PodState } from './pod-manager.ts';
import type { ProofState } from './self-probes.ts';

const pod: NodePod = {
  uid: 'Kubernetes//Pod/shop/web' as WorkloadUid,
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  trustDomain: 'cluster.local',
  node: 'node-1',
  addresses: [],
  netns: podReference('the-uid'),
  enrolled: true,
};

class Rig {
  readonly clock = new ManualClock();
  readonly store = new Store();
  managed: PodState[] = [];
  proof: ProofState | undefined;
  earlier = 0;
  readonly report = new CaptureReport({
    pods: { states: () => this.managed },
    probes: { state: () => this.proof },
    earlier: { count: () => this.earlier },
    snapshot: () => this.store.snapshot(),
    clock: this.clock,
  });

  constructor() {
    this.store.apply({ ...emptyDelta, pods: [pod] });
  }

  manage(state: PodState['state'], reason?: string): void {
    this.managed = [{ uid: pod.uid, name: 'shop/web', state, ...(reason !== undefined && { reason }) }];
  }
}

describe('CaptureReport', () => {
  it('calls a pod captured only when that was proved', () => {
    const rig = new Rig();
    rig.manage('captured');
    expect(rig.report.captures()).toMatchObject([{ state: 'pending', reason: 'Proving', podUid: 'the-uid' }]);
    rig.proof = { state: 'captured', reason: 'Captured', message: '', since: 7 };
    rig.earlier = 2;
    expect(rig.report.captures()).toMatchObject([{ state: 'captured', since: 7, earlierConnections: 2 }]);
    expect(rig.report.totals()).toEqual({
      pods: { pending: 0, captured: 1, failed: 0, bypassed: 0 },
      earlierConnections: 2,
    });
  });

  it('says since when a pod waits or fails, and why', () => {
    const rig = new Rig();
    const begun = rig.clock.now();
    rig.manage('pending', 'waiting for its certificate');
    rig.report.captures();
    rig.clock.advance(5_000);
    expect(rig.report.captures()).toMatchObject([
      { state: 'pending', reason: 'Waiting', message: 'waiting for its certificate', since: begun },
    ]);
    rig.manage('failed', 'no such namespace');
    expect(rig.report.captures()).toMatchObject([
      { state: 'failed', reason: 'CaptureFailed', message: 'no such namespace', since: begun + 5_000 },
    ]);
  });

  it('leaves out what the model no longer has', () => {
    const rig = new Rig();
    rig.manage('captured');
    rig.store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, pods: [pod.uid] } });
    expect(rig.report.captures()).toEqual([]);
  });
});
