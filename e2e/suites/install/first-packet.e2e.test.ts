// The CNI step on real nodes: pods of the mesh are captured before their first process runs, and do not start otherwise;
// nobody else waits for a node tunnel.

import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appImage } from '../../images/build-images.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshNamespace, meshRunning } from '../mesh-installation.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;
const ambient = { 'weft.dev/mode': 'ambient' };
const tunnel = 'daemonset/weft-ztunnel';

const strict = {
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'PeerAuthentication',
  metadata: { name: 'strict', namespace: 'guarded' },
  spec: { mtls: { mode: 'STRICT' } },
};

/** Ends well only if each container's first connection, made at once and once, was answered. */
function firstCalls(name: string, address: string, pods: number): object {
  const container = (step: string, host: string) => ({
    name: step,
    image: appImage,
    command: ['/bin/wget', '-q', '-O', '/dev/null', '-T', '10', `http://${host}/`],
  });
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: 'first' },
    spec: {
      parallelism: pods,
      completions: pods,
      backoffLimit: 0,
      template: {
        spec: {
          restartPolicy: 'Never',
          initContainers: [container('by-address', address)],
          containers: [container('by-name', 'web.guarded')],
        },
      },
    },
  };
}

function pod(name: string, namespace: string): object {
  const container = { name: 'idle', image: appImage, command: ['/bin/sleep', '86400'] };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { nodeName: cluster.nodes[0], terminationGracePeriodSeconds: 0, containers: [container] },
  };
}

function namespace(name: string, labels: Readonly<Record<string, string>>): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

async function apply(...objects: readonly object[]): Promise<void> {
  await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
}

/** With a selector that no node has, no node tunnel runs. */
async function placeTunnels(selector: Readonly<Record<string, string | null>>): Promise<void> {
  const patch = { spec: { template: { spec: { nodeSelector: selector } } } };
  await kubectl.ok(['patch', tunnel, '-n', meshNamespace, '--type=merge', '-p', JSON.stringify(patch)]);
}

describe('from the first packet', () => {
  const guarded = appNamespace(cluster, 'guarded');

  beforeAll(async () => {
    await installMesh(cluster, '--ha');
    await guarded.create({ labels: ambient });
    await apply(strict, namespace('first', ambient), namespace('unlabelled', {}));
  });
  afterAll(async () => {
    await guarded.remove();
    await kubectl.ok(['delete', 'namespace', 'first', 'unlabelled', '--wait=false']);
  });

  test('the first connection of every container of a Job is in the mesh, init containers too', async () => {
    const address = await kubectl.ok([
      'get',
      'service',
      'web',
      '-n',
      'guarded',
      '-o',
      'jsonpath={.spec.clusterIP}',
    ]);
    // Plaintext is refused there: this is what tells captured pods from others.
    await apply({
      ...firstCalls('outside', address, 1),
      metadata: { name: 'outside', namespace: 'unlabelled' },
    });
    await apply(firstCalls('one', address, 1), firstCalls('many', address, 20));
    for (const job of ['one', 'many'])
      await kubectl.ok(['wait', '-n', 'first', `job/${job}`, '--for=condition=Complete', '--timeout=120s']);
    await kubectl.ok(['wait', '-n', 'unlabelled', 'job/outside', '--for=condition=Failed', '--timeout=60s']);
  });

  test('without a node tunnel a labelled pod waits and says why, an unlabelled one starts', async () => {
    onTestFinished(async () => {
      await placeTunnels({ 'weft.test/nowhere': null });
      await meshRunning(kubectl);
    });
    await placeTunnels({ 'weft.test/nowhere': 'yes' });
    await kubectl.ok([
      ...['wait', '-n', meshNamespace, 'pod', '-l', 'app.kubernetes.io/name=weft-ztunnel'],
      ...['--for=delete', '--timeout=90s'],
    ]);
    await apply(pod('late', 'first'), pod('late', 'unlabelled'));
    await kubectl.ok(['wait', '-n', 'unlabelled', 'pod/late', '--for=condition=Ready', '--timeout=60s']);
    const reasons = async () =>
      await kubectl.ok([
        ...['get', 'events', '-n', 'first', '--field-selector=involvedObject.name=late'],
        ...['-o', 'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}'],
      ]);
    const told = async () =>
      expect(await reasons()).toMatch(
        /FailedCreatePodSandBox: .*Weft: pod first\/late waits: .*weft-ztunnel/,
      );
    await vi.waitFor(told, { timeout: 60_000, interval: 500 });
    await placeTunnels({ 'weft.test/nowhere': null });
    await kubectl.ok(['wait', '-n', 'first', 'pod/late', '--for=condition=Ready', '--timeout=120s']);
  }, 300_000);

  test('what another CNI rewrites is chained again, and what it wrote stays', async () => {
    const node = cluster.nodes[0] ?? '';
    const onNode = async (script: string, input = '') =>
      (await cluster.execOnNode(node, ['sh', '-c', script], { input })).stdout;
    const file = (await onNode('ls /etc/cni/net.d/*.conflist')).trim();
    const read = async () => JSON.parse(await onNode(`cat ${file}`)) as { plugins: { type: string }[] };
    const { plugins, ...rest } = await read();
    expect(plugins.at(-1)).toEqual({ type: 'weft-cni' });
    const others = plugins.slice(0, -1);
    const rewritten = { ...rest, rewritten: 'yes', plugins: others };
    await onNode(`cat > ${file}.tmp && mv ${file}.tmp ${file}`, JSON.stringify(rewritten));
    const again = { ...rewritten, plugins };
    await vi.waitFor(async () => expect(await read()).toEqual(again), { timeout: 20_000, interval: 100 });
  });
});
