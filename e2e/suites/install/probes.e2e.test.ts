// Probes of the kubelet over the network where plaintext is refused: by mTLS STRICT, by a waypoint, by the loss of the node
// tunnel. A pod that is ready from the first to the last line, without a restart, had every probe answered.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appImage } from '../../images/build-images.ts';
import { appService } from '../app-manifests.ts';
import { installGatewayApi, installWaypoint } from '../gateway-api.ts';
import { installMesh, meshRunning } from '../mesh-installation.ts';
import { capturedPods, killNodeTunnel, knownKubelets, tunnelRestarts } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;
const namespace = 'probed';
const node = cluster.nodes[0] ?? '';

const handlers = {
  http: { httpGet: { path: '/ready', port: 8080 } },
  tcp: { tcpSocket: { port: 9090 } },
  grpc: { grpc: { port: 9093 } },
} as const;
const kinds = Object.keys(handlers) as (keyof typeof handlers)[];

/** Restarted after two seconds without an answer. */
function deployment(kind: keyof typeof handlers): object {
  const probe = { ...handlers[kind], periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2 };
  const container = {
    name: 'app',
    image: appImage,
    startupProbe: { ...probe, failureThreshold: 60 },
    readinessProbe: { ...probe, failureThreshold: 1 },
    livenessProbe: probe,
  };
  const matchLabels = { app: kind };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: kind, namespace },
    spec: {
      selector: { matchLabels },
      template: {
        metadata: { labels: { ...matchLabels, probed: 'yes' } },
        spec: { nodeName: node, terminationGracePeriodSeconds: 2, containers: [container] },
      },
    },
  };
}

interface ProbedPod {
  readonly name: string;
  readonly address: string;
  readonly restarts: number;
  /** Since when it is ready; it is not if absent. */
  readonly readySince: string | undefined;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: {
      readonly podIP?: string;
      readonly conditions?: readonly { type: string; status: string; lastTransitionTime: string }[];
      readonly containerStatuses?: readonly { restartCount: number }[];
    };
  }[];
}

async function probedPods(): Promise<readonly ProbedPod[]> {
  const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace, '-l', 'probed=yes']);
  return items
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata, status }) => ({
      name: metadata.name,
      address: status.podIP ?? '',
      restarts: (status.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0),
      readySince: status.conditions?.find(({ type, status: is }) => type === 'Ready' && is === 'True')
        ?.lastTransitionTime,
    }));
}

/** Every pod is ready and was never restarted. */
async function allReady(): Promise<readonly ProbedPod[]> {
  for (const kind of kinds) await kubectl.rolledOut(namespace, `deployment/${kind}`);
  const pods = await probedPods();
  expect(pods).toHaveLength(kinds.length);
  for (const pod of pods) expect(pod).toMatchObject({ restarts: 0, readySince: expect.any(String) });
  return pods;
}

/**
 * The first line of a plaintext HTTP answer to a process on the node, in one of its control groups (the root without a
 * name); empty if refused.
 */
async function askInPlaintext(address: string, controlGroup = ''): Promise<string> {
  const script = `set -e
    root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    mkdir -p "$root/${controlGroup}"
    ask='exec 3<>/dev/tcp/${address}/8080 && printf "GET /ready HTTP/1.0\\r\\n\\r\\n" >&3 && head -n 1 <&3'
    (echo $BASHPID >"$root/${controlGroup}/cgroup.procs" && timeout 5 bash -c "$ask" 2>/dev/null || true)
    rmdir "$root/${controlGroup}" 2>/dev/null || true`;
  const { status, stdout, stderr } = await cluster.execOnNode(node, ['bash', '-c', script]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.trim();
}

describe('probes of the kubelet', () => {
  const strict = {
    apiVersion: 'weft.dev/v1alpha1',
    kind: 'PeerAuthentication',
    metadata: { name: 'strict', namespace },
    spec: { mtls: { mode: 'STRICT' } },
  };
  const labels = { 'weft.dev/mode': 'ambient' };
  const space = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };

  beforeAll(async () => {
    await installGatewayApi(cluster);
    await installMesh(cluster);
    // A pod has the waypoint of a Service that it is behind.
    const service = appService({ name: 'web', namespace }, { selector: { probed: 'yes' } });
    const items = [space, strict, service, ...kinds.map(deployment)];
    await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  });
  afterAll(async () => {
    await kubectl.ok(['delete', 'namespace', namespace, '--wait=false']);
    await meshRunning(kubectl);
  });

  async function untilRefused(): Promise<void> {
    const pods = await allReady();
    const captured = () => capturedPods(cluster, namespace);
    await expect
      .poll(captured, { timeout: 20_000 })
      .toEqual(expect.arrayContaining(pods.map(({ name }) => name)));
    const { address } = pods[0] ?? { address: '' };
    await expect.poll(() => askInPlaintext(address, 'weft-test'), { timeout: 20_000 }).toBe('');
  }

  test('over HTTP, TCP and gRPC are answered where mTLS is STRICT', async () => {
    await untilRefused();
    await allReady();
  });

  test('are told from other connections of the node by the control group, and by the port', async () => {
    const pods = await allReady();
    const addressOf = (kind: string) => pods.find(({ name }) => name.startsWith(`${kind}-`))?.address ?? '';
    const { kubelets } = await knownKubelets(cluster, node);
    expect(kubelets).toEqual([{ pid: expect.any(Number), name: 'kubelet', cgroup: expect.any(String) }]);
    // In kind the root group takes no process.
    for (const group of cluster.backend === 'local' ? ['weft-test', ''] : ['weft-test'])
      expect(await askInPlaintext(addressOf('http'), group)).toBe('');
    const [kubelet] = kubelets;
    expect(await askInPlaintext(addressOf('http'), kubelet?.cgroup)).toMatch(/^HTTP\/1\.1 200/);
    // It listens there as well, but no probe of its own asks there.
    expect(await askInPlaintext(addressOf('tcp'), kubelet?.cgroup)).toBe('');
  });

  test('are answered while the node tunnel is killed twice and waits ten seconds for its start', async () => {
    const before = await allReady();
    const restarts = await tunnelRestarts(cluster);
    await killNodeTunnel(cluster, node);
    await expect.poll(() => tunnelRestarts(cluster), { timeout: 30_000 }).toBe(restarts + 1);
    await killNodeTunnel(cluster, node);
    await expect.poll(() => tunnelRestarts(cluster), { timeout: 60_000 }).toBe(restarts + 2);
    await meshRunning(kubectl);
    expect(await allReady()).toEqual(before);
  });

  test('are answered after the kubelet was killed and is in another control group', async () => {
    const { kubelets, kubeletProbes } = await knownKubelets(cluster, node);
    await cluster.restartService(node, 'kubelet');
    const known = async () => (await knownKubelets(cluster, node)).kubelets;
    await expect.poll(known, { timeout: 20_000 }).not.toEqual(kubelets);
    await expect.poll(known, { timeout: 20_000 }).toHaveLength(1);
    // Several rounds, each of which would have ended in a restart of the pods.
    const probes = async () => (await knownKubelets(cluster, node)).kubeletProbes;
    await expect.poll(probes, { timeout: 60_000 }).toBeGreaterThan(kubeletProbes + 10 * kinds.length);
    await allReady();
  });

  test('are answered by pods that have a waypoint', async () => {
    await installWaypoint(cluster, namespace);
    await kubectl.ok(['delete', 'peerauthentication', 'strict', '-n', namespace]);
    await kubectl.ok(['label', 'namespace', namespace, 'weft.dev/waypoint=gate']);
    await kubectl.ok(['rollout', 'restart', '-n', namespace, ...kinds.map((kind) => `deployment/${kind}`)]);
    await untilRefused();
    await allReady();
  });
});
