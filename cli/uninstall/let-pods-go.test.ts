import { describe, expect, test } from 'vitest';
import type { KubeRequest } from '../../controller/kubernetes/kube-client.ts';
import type { NodesPage } from '../../mesh/node-report/nodes-page.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { nodeState, page, podCapture } from '../check/testing/healthy-facts.ts';
import { whileTimePasses } from '../testing/while-time-passes.ts';
import { letPodsGo } from './let-pods-go.ts';

const held = nodeState('node-1', { pods: [podCapture('web')] });
const empty = nodeState('node-1');

/** Runs it with a page for each look; the last one stays. */
async function run(...pages: (NodesPage | { readonly missing: string })[]) {
  const clock = new ManualClock();
  const patches: unknown[] = [];
  const client = {
    async request<T>({ method, path, body }: KubeRequest): Promise<T> {
      if (`${method} ${path}` !== 'PATCH /api/v1/namespaces/mesh') throw new Error(`Not expected: ${path}`);
      patches.push(body);
      return {} as T;
    },
  };
  const readPage = async () => (pages.length > 1 ? pages.shift() : pages[0]) as NodesPage;
  const work = letPodsGo({ client, clock, namespace: 'mesh', readPage });
  const doubt = await whileTimePasses(clock, work);
  return { doubt, patches };
}

describe('letPodsGo()', () => {
  test('marks the namespace of the mesh, and waits until no node holds a pod', async () => {
    const { doubt, patches } = await run(page([held]), page([held]), page([empty]));
    expect(doubt).toBeUndefined();
    expect(patches).toEqual([{ metadata: { labels: { 'weft.dev/enrolment': 'off' } } }]);
  });

  test('does not wait for a node that does not report', async () => {
    expect((await run(page([{ ...held, state: 'silent' }]))).doubt).toBeUndefined();
  });

  test('says who still holds pods when the time is over', async () => {
    expect((await run(page([held, nodeState('node-2')]))).doubt).toBe('pods are held on node-1');
  });

  test('says why it can not know', async () => {
    expect((await run({ missing: 'no replica of the controller is ready' })).doubt).toBe(
      'no replica of the controller is ready',
    );
  });
});
