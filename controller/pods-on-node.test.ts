import { describe, expect, it } from 'vitest';
import { makeNodePod, makeWorkload } from '../mesh/model/fixture.ts';
import { emptyModel, type Model } from '../mesh/model/model.ts';
import type { Workload } from '../mesh/model/workload.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { ModelPodsOnNode } from './pods-on-node.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };

function modelWith(fields: Partial<Workload>): Model {
  const workload = makeWorkload('a', { serviceAccount: 'web', ...fields });
  return { ...emptyModel, workloads: new Map([[workload.uid, workload]]) };
}

describe('ModelPodsOnNode', () => {
  it('knows the service accounts of captured pods by node', () => {
    const pods = new ModelPodsOnNode({ clock: new ManualClock() });
    expect(pods.hasServiceAccount('node-1', identity)).toBe(false);
    pods.update(modelWith({}));
    expect(pods.hasServiceAccount('node-1', identity)).toBe(true);
    expect(pods.hasServiceAccount('node-2', identity)).toBe(false);
    for (const other of [{ namespace: 'bank' }, { serviceAccount: 'api' }, { trustDomain: 'elsewhere' }]) {
      expect(pods.hasServiceAccount('node-1', { ...identity, ...other })).toBe(false);
    }
    pods.update(emptyModel);
    expect(pods.hasServiceAccount('node-1', identity)).toBe(false);
  });

  it.each<[string, Partial<Workload>]>([
    ['that are not captured', { tunnelProtocol: 'none' }],
    ['that run on no node', { node: '' }],
  ])('grants nothing for workloads %s', (_which, fields) => {
    const pods = new ModelPodsOnNode({ clock: new ManualClock() });
    pods.update(modelWith(fields));
    expect(pods.hasServiceAccount('node-1', identity)).toBe(false);
    expect(pods.hasServiceAccount('', identity)).toBe(false);
  });

  it('knows a pod that is about to start, before it is a workload', () => {
    const pods = new ModelPodsOnNode({ clock: new ManualClock() });
    const starting = makeNodePod('a', { serviceAccount: 'web' });
    pods.update({ ...emptyModel, pods: new Map([[starting.uid, starting]]) });
    expect(pods.hasServiceAccount('node-1', identity)).toBe(true);
    pods.update({ ...emptyModel, pods: new Map([[starting.uid, { ...starting, enrolled: false }]]) });
    expect(pods.hasServiceAccount('node-1', identity)).toBe(false);
  });

  it('ends a wait when the pod appears', async () => {
    const pods = new ModelPodsOnNode({ clock: new ManualClock() });
    const wait = pods.waitFor('node-1', identity, 1_000);
    pods.update(modelWith({ node: 'node-2' }));
    pods.update(modelWith({}));
    expect(await wait).toBe(true);
    expect(await pods.waitFor('node-1', identity, 1_000)).toBe(true);
  });

  it('ends a wait at its time, and all of them when it closes', async () => {
    const clock = new ManualClock();
    const pods = new ModelPodsOnNode({ clock });
    const first = pods.waitFor('node-1', identity, 1_000);
    const second = pods.waitFor('node-1', identity, 5_000);
    clock.advance(1_000);
    expect(await first).toBe(false);
    pods.close();
    expect(await second).toBe(false);
  });
});
