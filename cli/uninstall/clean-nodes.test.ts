import { beforeEach, describe, expect, test } from 'vitest';
import type { KubeRequest } from '../../controller/kubernetes/kube-client.ts';
import { KubeError } from '../../controller/kubernetes/kube-error.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { node, tunnelPod } from '../check/testing/healthy-facts.ts';
import { whileTimePasses } from '../testing/while-time-passes.ts';
import { cleanFlag, cleanNodes } from './clean-nodes.ts';

const notReady = { conditions: [{ type: 'Ready', status: 'Unknown' }] };
const crashing = {
  conditions: [{ type: 'Ready', status: 'False' }],
  containerStatuses: [{ name: 'ztunnel', state: { waiting: { reason: 'CrashLoopBackOff' } } }],
};

/** An API server with one DaemonSet; `pods` says which there are after so many looks. Strict: asks for more throw. */
class FakeCluster {
  readonly patches: { readonly spec: { readonly updateStrategy: object; readonly template: object } }[] = [];
  args: readonly string[] = ['ztunnel'];
  rollingUpdate: object = { maxUnavailable: 1 };
  nodes = [node('node-1'), node('node-2')];
  pods: (look: number) => readonly object[] = () => [];
  isThere = true;
  #looks = 0;

  async request<T>({ method = 'GET', path, body }: KubeRequest): Promise<T> {
    return (await this.#answer(`${method} ${path}`, body)) as T;
  }

  async #answer(request: string, body: unknown): Promise<unknown> {
    const daemonSets = '/apis/apps/v1/namespaces/mesh/daemonsets/weft-ztunnel';
    switch (request) {
      case `GET ${daemonSets}`: {
        if (!this.isThere) throw new KubeError('NOT_FOUND', 'none');
        const containers = [{ name: 'ztunnel', args: this.args }];
        return {
          metadata: { name: 'weft-ztunnel' },
          spec: {
            updateStrategy: { rollingUpdate: this.rollingUpdate },
            template: { spec: { terminationGracePeriodSeconds: 30, containers } },
          },
        };
      }
      case `PATCH ${daemonSets}`:
        this.patches.push(body as (typeof this.patches)[number]);
        return {};
      case 'GET /api/v1/nodes':
        return { items: this.nodes };
      case 'GET /api/v1/namespaces/mesh/pods?labelSelector=app.kubernetes.io%2Fname%3Dweft-ztunnel':
        return { items: this.pods(this.#looks++) };
      default:
        throw new Error(`Not expected: ${request}`);
    }
  }
}

function cleaner(name: string, status?: Parameters<typeof tunnelPod>[1]): object {
  const pod = tunnelPod(name, status);
  return { ...pod, spec: { ...pod.spec, containers: [{ args: ['ztunnel', cleanFlag] }] } };
}

describe('cleanNodes()', () => {
  let cluster: FakeCluster;
  let clock: ManualClock;
  beforeEach(() => {
    cluster = new FakeCluster();
    clock = new ManualClock();
  });

  async function run(onProgress: (clean: number, all: number) => void = () => {}) {
    const work = cleanNodes({ client: cluster, clock, namespace: 'mesh', onProgress });
    return await whileTimePasses(clock, work);
  }

  test('replaces the pods of all nodes at once, and waits until the old ones are gone', async () => {
    const old = [tunnelPod('node-1'), tunnelPod('node-2')];
    const rounds = [
      old,
      [...old, cleaner('node-1'), cleaner('node-2', { phase: 'Pending' })],
      [cleaner('node-1'), cleaner('node-2')],
    ];
    cluster.pods = (look) => rounds[Math.min(look, 2)] ?? [];
    const told: string[] = [];
    expect(await run((clean, all) => told.push(`${clean}/${all}`))).toEqual({
      clean: ['node-1', 'node-2'],
      failed: [],
    });
    expect(told).toEqual(['0/2', '2/2']);
    expect(cluster.patches).toEqual([
      {
        spec: {
          updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: '100%' } },
          template: { spec: { containers: [{ name: 'ztunnel', args: ['ztunnel', cleanFlag] }] } },
        },
      },
    ]);
  });

  test('keeps the old pod beside the new one where the DaemonSet does so', async () => {
    cluster.rollingUpdate = { maxSurge: 1, maxUnavailable: 0 };
    cluster.pods = () => [cleaner('node-1'), cleaner('node-2')];
    await run();
    expect(cluster.patches[0]?.spec.updateStrategy).toMatchObject({
      rollingUpdate: { maxSurge: '100%', maxUnavailable: 0 },
    });
  });

  test('goes on where an earlier run ended', async () => {
    cluster.args = ['ztunnel', cleanFlag];
    cluster.pods = () => [cleaner('node-1'), cleaner('node-2')];
    expect(await run()).toMatchObject({ failed: [] });
    expect(cluster.patches).toEqual([]);
  });

  test('does not wait for a node that is not Ready, and names it', async () => {
    cluster.nodes = [node('node-1'), node('node-2', { status: notReady })];
    cluster.pods = () => [cleaner('node-1'), tunnelPod('node-2')];
    const before = clock.now();
    expect(await run()).toEqual({
      clean: ['node-1'],
      failed: [{ node: 'node-2', isReady: false, reason: 'the node is not Ready' }],
    });
    expect(clock.now() - before).toBeLessThan(10_000);
  });

  test('takes the change back where no node can do it, as with an image that does not know how', async () => {
    cluster.pods = () => [cleaner('node-1', crashing), cleaner('node-2', crashing)];
    const { failed } = (await run()) ?? { failed: [] };
    expect(failed).toMatchObject([
      { node: 'node-1', isReady: true, reason: 'weft-ztunnel-node-1: CrashLoopBackOff' },
      { node: 'node-2' },
    ]);
    expect(cluster.patches.map(({ spec }) => spec.template)).toEqual([
      { spec: { containers: [{ name: 'ztunnel', args: ['ztunnel', cleanFlag] }] } },
      { spec: { containers: [{ name: 'ztunnel', args: ['ztunnel'] }] } },
    ]);
  });

  test('has nothing to do without a DaemonSet', async () => {
    cluster.isThere = false;
    expect(await run()).toBeUndefined();
  });
});
