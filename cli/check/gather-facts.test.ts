import { describe, expect, test } from 'vitest';
import type { KubeRequest } from '../../controller/kubernetes/kube-client.ts';
import { KubeError } from '../../controller/kubernetes/kube-error.ts';
import { gatherFacts } from './gather-facts.ts';
import { controllerPod, nodeState, now, page } from './testing/healthy-facts.ts';

type Answers = Readonly<Record<string, unknown>>;

const second = { ...controllerPod(), metadata: { ...controllerPod().metadata, name: 'weft-controller-2' } };

/** What is not among the answers is not there. */
function gather(answers: Answers, readPage: (pod: string) => unknown = () => page([])) {
  const asked: string[] = [];
  const client = {
    server: 'https://192.0.2.1:6443',
    async request<T>({ path }: KubeRequest): Promise<T> {
      asked.push(path);
      const answer =
        path === '/version' ? { gitVersion: 'v1.34.4' } : answers[path.replace(/\?limit=500$/, '')];
      if (answer instanceof Error) throw answer;
      if (answer === undefined) throw new KubeError('NOT_FOUND', `no ${path}`);
      return answer as T;
    },
  };
  const facts = gatherFacts({
    client,
    namespace: 'weft-system',
    now: () => now,
    readPage: async ({ pod }) => {
      const answer = readPage(pod);
      return typeof answer === 'string' ? answer : JSON.stringify(answer);
    },
    wantedDefinitions: new Map(),
    signal: new AbortController().signal,
  });
  return { facts, asked };
}

const pods = { items: [controllerPod(), second], metadata: {} };

describe('gatherFacts()', () => {
  test('takes lists page by page, also where a list is null', async () => {
    const { facts } = gather({
      '/api/v1/nodes': { items: [{ metadata: { name: 'a' } }], metadata: { continue: 'next' } },
      '/api/v1/nodes?limit=500&continue=next': {
        items: [{ metadata: { name: 'b' } }],
        metadata: { continue: '' },
      },
      '/api/v1/pods': { items: null },
    });
    const { nodes, pods: none } = await facts;
    expect(nodes?.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    expect(none).toEqual([]);
  });

  test('takes a kind that is not served as one without objects', async () => {
    expect((await gather({}).facts).gateways).toEqual([]);
  });

  test('notes what is refused or fails, and goes on', async () => {
    const { facts } = gather({
      '/api/v1/nodes': new KubeError('FORBIDDEN', 'nodes is forbidden'),
      '/apis/apps/v1/namespaces/weft-system/deployments/weft-controller': new KubeError(
        'SERVER',
        'etcd is slow',
      ),
    });
    const { nodes, unreadable, controller } = await facts;
    expect([nodes, controller]).toEqual([undefined, undefined]);
    expect(unreadable).toEqual([
      { right: 'list nodes --all-namespaces', isForbidden: true, message: 'nodes is forbidden' },
      {
        right: 'get deployments weft-controller -n weft-system',
        isForbidden: false,
        message: 'etcd is slow',
      },
    ]);
  });

  test.each(['UNREACHABLE', 'UNAUTHENTICATED'] as const)('ends for a cluster that is %s', async (code) => {
    await expect(gather({ '/api/v1/pods': new KubeError(code, 'x') }).facts).rejects.toMatchObject({ code });
  });

  test('reads the page of the replica that leads', async () => {
    const readPage = (pod: string) => page([nodeState(pod)], { leading: pod === 'weft-controller-2' });
    const { page: read } = await gather({ '/api/v1/pods': pods }, readPage).facts;
    expect(read).toMatchObject({ nodes: [{ node: 'weft-controller-2' }] });
  });

  test.each([
    ['no replica of the controller leads yet', page([], { leading: false })],
    [/no JSON: Unknown path/, 'Unknown path; known are /'],
    [/another form than this version reads/, { leading: true }],
  ])('says why there is none: %s', async (missing, answer) => {
    const { page: read } = await gather({ '/api/v1/pods': pods }, () => answer).facts;
    expect('missing' in read ? read.missing : '').toMatch(missing);
  });

  test('asks no pod that is not ready', async () => {
    const answers = { '/api/v1/pods': { items: [controllerPod({ phase: 'Pending' })] } };
    const { page: read } = await gather(answers, () => expect.unreachable()).facts;
    expect(read).toEqual({ missing: 'no replica of the controller is ready' });
  });
});
