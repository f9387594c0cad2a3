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
const node = cluster.nodes[0] ?? '';
const idle = ['/bin/sleep', '86400'];

const strict = {
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'PeerAuthentication',
  metadata: { name: 'strict', namespace: 'guarded' },
  spec: { mtls: { mode: 'STRICT' } },
};

const byAddress = (address: string): readonly string[] => [
  '/bin/wget',
  '-q',
  '-O',
  '/dev/null',
  `http://${address}/`,
];
const byName = [
  ...['/usr/local/bin/node', '--eval'],
  'fetch("http://web.guarded/").then(({ ok }) => process.exit(ok ? 0 : 1))',
];

interface Job {
  readonly name: string;
  readonly namespace: string;
  readonly pods: number;
  /** Of the init container, then of the main one. */
  readonly commands: readonly [readonly string[], readonly string[]];
}

/** Ends well only if each container's first connection, made at once and once, was answered. */
function job({ name, namespace, pods, commands }: Job): object {
  const [init, main] = commands.map((command, i) => ({ name: `step-${i}`, image: appImage, command }));
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace },
    spec: {
      parallelism: pods,
      completions: pods,
      backoffLimit: 0,
      template: { spec: { restartPolicy: 'Never', initContainers: [init], containers: [main] } },
    },
  };
}

function pod(name: string, namespace: string, command: readonly string[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: appImage, command }],
    },
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

/** Ends the process that holds the pod's namespaces; the kubelet makes new ones for the same pod. */
async function endSandbox(namespace: string, name: string): Promise<void> {
  const uid = await kubectl.ok(['get', 'pod', name, '-n', namespace, '-o', 'jsonpath={.metadata.uid}']);
  const isOfPod = `grep -qsE '${uid.replaceAll('-', '[-_]')}' $p/cgroup`;
  const script = `for p in /proc/[0-9]*; do ${isOfPod} && grep -qs pause $p/comm && kill -9 \${p#/proc/}; done; true`;
  await cluster.execOnNode(node, ['bash', '-c', script]);
}

describe('from the first packet', () => {
  const guarded = appNamespace(cluster, 'guarded');
  let address: string;

  beforeAll(async () => {
    await installMesh(cluster, '--ha');
    await guarded.create({ labels: ambient });
    const jsonpath = ['-o', 'jsonpath={.spec.clusterIP}'];
    address = await kubectl.ok(['get', 'service', 'web', '-n', 'guarded', ...jsonpath]);
    await apply(strict, namespace('first', ambient), namespace('unlabelled', {}));
  });
  afterAll(async () => {
    await guarded.remove();
    await kubectl.ok(['delete', 'namespace', 'first', 'unlabelled', '--wait=false']);
  });

  test('the first connection of every container of a Job is in the mesh, init containers too', async () => {
    const wget = byAddress(address);
    // Plaintext is refused there: this is what tells captured pods from others.
    await apply(
      job({ name: 'outside', namespace: 'unlabelled', pods: 1, commands: [wget, wget] }),
      job({ name: 'one', namespace: 'first', pods: 1, commands: [wget, byName] }),
      job({ name: 'many', namespace: 'first', pods: 20, commands: [wget, wget] }),
    );
    const ends = async (name: string, condition: string) =>
      await kubectl.ok(['wait', ...name.split(' '), `--for=condition=${condition}`, '--timeout=90s']);
    await ends('-n first job/one', 'Complete');
    await ends('-n first job/many', 'Complete');
    await ends('-n unlabelled job/outside', 'Failed');
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
    await apply(pod('late', 'first', idle), pod('late', 'unlabelled', idle));
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

  test('a pod is captured anew with each new sandbox, also after a reboot of its node', async () => {
    const call = `${byAddress(address).join(' ')} && echo reached || echo refused; exec sleep 86400`;
    await apply(pod('again', 'first', ['/bin/sh', '-c', call]));
    const runs = async (restarts: number) => {
      const status = ['get', 'pod', 'again', '-n', 'first', '-o', 'jsonpath={.status.containerStatuses[0]}'];
      const { restartCount, ready } = JSON.parse(await kubectl.ok(status)) as {
        restartCount: number;
        ready: boolean;
      };
      expect({ restartCount, ready }).toEqual({ restartCount: restarts, ready: true });
      expect(await kubectl.ok(['logs', 'again', '-n', 'first'])).toBe('reached\n');
    };
    await vi.waitFor(() => runs(0), { timeout: 60_000, interval: 500 });
    await endSandbox('first', 'again');
    await vi.waitFor(() => runs(1), { timeout: 60_000, interval: 500 });
    await cluster.killNode(node);
    await kubectl.ok(['wait', '--for=condition=Ready=Unknown', `node/${node}`, '--timeout=90s']);
    await cluster.restartNode(node);
    await vi.waitFor(() => runs(2), { timeout: 120_000, interval: 500 });
    await meshRunning(kubectl);
  }, 300_000);

  test('what another CNI rewrites is chained again, and what it wrote stays', async () => {
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
