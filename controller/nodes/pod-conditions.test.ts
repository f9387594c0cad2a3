import { describe, expect, it } from 'vitest';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { type NodePod, podReference } from '../../mesh/model/node-pod.ts';
import { makeNodeFacts, makePodCapture } from '../../mesh/node-report/fixture.ts';
import type { PodCapture } from '../../mesh/node-report/node-report.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import type { KubeRequest } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import type { ObjectKey } from '../resources/resources.ts';
import { keepCapturedCondition, type LiveCondition } from './live-condition.ts';
import { NodeTable } from './node-table.ts';
import { type HostNetworkPod, PodConditions } from './pod-conditions.ts';

const start = 1_700_000_000_000;
const startText = '2023-11-14T22:13:20Z';
const key = (name: string): ObjectKey => `shop/${name}`;

function makePod(name: string, overrides: Partial<NodePod> = {}): NodePod {
  return {
    uid: makePodCapture(name).uid,
    name,
    namespace: 'shop',
    serviceAccount: name,
    trustDomain: 'cluster.local',
    node: 'node-1',
    addresses: ['10.0.0.1' as IpAddress],
    netns: podReference(`uid-of-${name}`),
    enrolled: true,
    ...overrides,
  };
}

/** An API server that takes patches of conditions, and shows them when the test says so. */
class Rig {
  readonly clock = new ManualClock(start);
  readonly live = new Map<ObjectKey, LiveCondition>();
  readonly requests: KubeRequest[] = [];
  fails: Error | undefined;
  readonly table: NodeTable;
  readonly conditions: PodConditions;
  #session: ReturnType<NodeTable['open']> | undefined;

  constructor() {
    this.table = new NodeTable({
      clock: this.clock,
      onChange: (node): void => this.conditions.nodeChanged(node),
    });
    this.conditions = new PodConditions({
      client: {
        request: async <T>(request: KubeRequest) => {
          this.requests.push(request);
          if (this.fails !== undefined) throw this.fails;
          return undefined as T;
        },
      },
      table: this.table,
      live: (each) => this.live.get(each),
      clock: this.clock,
      logger: createLogger({ component: 'test', level: 'silent' }),
    });
    this.table.lead(true);
    this.conditions.lead(true);
  }

  pods(pods: readonly NodePod[], hostNetwork: readonly HostNetworkPod[] = []): void {
    this.conditions.update({ pods: new Map(pods.map((pod) => [pod.uid, pod])) }, hostNetwork);
  }

  report(...pods: PodCapture[]): void {
    this.#session ??= this.table.open('node-1');
    this.#session.receive({
      complete: true,
      sentAt: this.clock.now(),
      facts: makeNodeFacts(),
      pods,
      removed: [],
    });
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      this.clock.advance(Math.min(100, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Conditions that were sent, without what every request has. */
  sent(): unknown[] {
    return this.requests.flatMap(
      ({ body }) => (body as { status: { conditions: unknown[] } }).status.conditions,
    );
  }

  /** The watch shows the last write. */
  echo(name: string): void {
    const condition = this.sent().at(-1) as LiveCondition & { $patch?: string };
    if (condition.$patch === 'delete') this.live.delete(key(name));
    else this.live.set(key(name), condition);
    this.conditions.recheck(key(name));
  }
}

describe('PodConditions', () => {
  it('writes what a node proved, once, and names the pod it means', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(100);
    expect(rig.requests).toMatchObject([
      {
        method: 'PATCH',
        path: '/api/v1/namespaces/shop/pods/web/status?fieldManager=weft-controller',
        contentType: 'application/strategic-merge-patch+json',
        body: {
          metadata: { uid: 'uid-of-web' },
          status: {
            conditions: [
              {
                type: 'weft.dev/Captured',
                status: 'True',
                reason: 'Captured',
                message: 'The node tunnel of "node-1" proved it',
                lastTransitionTime: startText,
              },
            ],
          },
        },
      },
    ]);
    rig.echo('web');
    rig.report(makePodCapture('web'));
    await rig.advance(20_000);
    expect(rig.requests).toHaveLength(1);
  });

  it('says why a pod is not captured, and keeps the time while only the reason changes', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(100);
    rig.echo('web');
    await rig.advance(10_000);
    rig.report(makePodCapture('web', { state: 'bypassed', reason: 'HookDetached', message: 'by hand' }));
    await rig.advance(100);
    rig.echo('web');
    await rig.advance(10_000);
    rig.report(makePodCapture('web', { state: 'failed', reason: 'NoListener', message: 'nobody' }));
    await rig.advance(100);
    const [, second, third] = rig.sent() as LiveCondition[];
    expect(second).toMatchObject({ status: 'False', reason: 'HookDetached', message: 'by hand' });
    expect(third).toMatchObject({ status: 'False', reason: 'NoListener' });
    expect(third?.lastTransitionTime).toBe(second?.lastTransitionTime);
    expect(second?.lastTransitionTime).not.toBe(startText);
  });

  it('names connections that are older than the capture', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web', { earlierConnections: 3 }));
    await rig.advance(100);
    expect(rig.sent()).toMatchObject([
      { status: 'True', message: expect.stringContaining('3 connections opened before') },
    ]);
  });

  it('tells nothing of a new pod that is captured a moment later', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web', { state: 'pending', reason: 'Proving' }));
    await rig.advance(2_000);
    expect(rig.requests).toEqual([]);
    rig.report(makePodCapture('web'));
    await rig.advance(5_000);
    expect(rig.sent()).toMatchObject([{ status: 'True' }]);
  });

  it('tells of a pod that its node does not capture in time', async () => {
    const rig = new Rig();
    rig.report();
    rig.pods([makePod('web')]);
    await rig.advance(3_100);
    expect(rig.sent()).toMatchObject([{ status: 'False', reason: 'Waiting' }]);
  });

  it('says Unknown when the node falls silent, and not before', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(100);
    rig.echo('web');
    await rig.advance(29_000);
    expect(rig.requests).toHaveLength(1);
    await rig.advance(1_500);
    expect(rig.sent().at(-1)).toMatchObject({ status: 'Unknown', reason: 'NodeNotReporting' });
  });

  it('takes the condition from a pod that left the mesh, and writes none to one that never was in it', async () => {
    const rig = new Rig();
    rig.pods([makePod('web'), makePod('other', { enrolled: false })]);
    rig.report(makePodCapture('web'));
    await rig.advance(100);
    rig.echo('web');
    rig.pods([makePod('web', { enrolled: false }), makePod('other', { enrolled: false })]);
    await rig.advance(10_000);
    expect(rig.sent().slice(1)).toEqual([{ type: 'weft.dev/Captured', $patch: 'delete' }]);
  });

  it('names pods on the network of their node', async () => {
    const rig = new Rig();
    rig.pods([], [{ namespace: 'shop', name: 'agent', uid: 'uid-of-agent' }]);
    await rig.advance(100);
    expect(rig.sent()).toMatchObject([{ status: 'False', reason: 'HostNetwork' }]);
  });

  it('puts right what somebody else wrote', async () => {
    const rig = new Rig();
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(100);
    rig.echo('web');
    await rig.advance(10_000);
    rig.live.set(key('web'), { status: 'False', reason: 'Vandal', message: '' });
    rig.conditions.recheck(key('web'));
    await rig.advance(100);
    expect(rig.sent().at(-1)).toMatchObject({ status: 'True' });
    expect(rig.requests).toHaveLength(2);
  });

  it('writes a hundred pods in their time, not at once', async () => {
    const rig = new Rig();
    const names = Array.from({ length: 100 }, (_, i) => `web-${i}`);
    rig.pods(names.map((name) => makePod(name)));
    rig.report(...names.map((name) => makePodCapture(name)));
    await rig.advance(1_000);
    expect(rig.requests.length).toBeLessThanOrEqual(52);
    await rig.advance(2_000);
    expect(new Set(rig.requests.map(({ path }) => path)).size).toBe(100);
  });

  it('tries again when the API server fails, and not when the pod is gone', async () => {
    const rig = new Rig();
    rig.fails = new KubeError('UNREACHABLE', 'away');
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(1_500);
    expect(rig.requests).toHaveLength(2);
    rig.fails = new KubeError('NOT_FOUND', 'gone');
    await rig.advance(10_000);
    expect(rig.requests).toHaveLength(3);
    expect(rig.conditions.counters).toEqual({ written: 0, failed: 3 });
  });

  it('writes nothing while another replica leads', async () => {
    const rig = new Rig();
    rig.conditions.lead(false);
    rig.pods([makePod('web')]);
    rig.report(makePodCapture('web'));
    await rig.advance(10_000);
    expect(rig.requests).toEqual([]);
  });
});

describe('keepCapturedCondition()', () => {
  it('keeps the one condition and nothing else', () => {
    const condition = { type: 'weft.dev/Captured', status: 'True', reason: 'a', message: 'b' };
    const status = { podIP: '10.0.0.1', conditions: [{ type: 'Ready', status: 'True' }, condition] };
    expect(keepCapturedCondition(status)).toEqual({ status: { status: 'True', reason: 'a', message: 'b' } });
    expect(keepCapturedCondition({ conditions: [{ type: 'Ready', status: 'True' }] })).toBeUndefined();
    expect(keepCapturedCondition(undefined)).toBeUndefined();
    expect(keepCapturedCondition({ conditions: [null] })).toBeUndefined();
  });
});
