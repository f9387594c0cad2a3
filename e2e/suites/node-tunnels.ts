// What the node tunnels of a cluster say about themselves, asked through their admin page from inside their pods.

import { expect, vi } from 'vitest';
import type { Cluster } from '../cluster/cluster.ts';
import { ClusterError } from '../cluster/cluster-error.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import type { AppNamespace } from './app-namespace.ts';
import { meshNamespace } from './mesh-installation.ts';

/** As a node tunnel knows it. */
export interface KnownWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly health: 'healthy' | 'unhealthy';
}

interface Dump extends KnownKubelets {
  readonly workloads: readonly KnownWorkload[];
  readonly workloadState: Readonly<
    Record<
      string,
      { readonly state: string; readonly info: { readonly name: string; readonly namespace: string } }
    >
  >;
}

const adminPage = 'http://127.0.0.1:15000';

/** Names of the pods of one namespace that are captured, on whatever node; sorted. A node may have two tunnels for a while. */
export async function capturedPods(cluster: Cluster, namespace: string): Promise<readonly string[]> {
  const dumps = await Promise.all((await tunnelPods(cluster)).map((pod) => configDump(cluster, pod)));
  const captured = dumps
    .flatMap(({ workloadState }) => Object.values(workloadState))
    .filter(({ state, info }) => state === 'Up' && info.namespace === namespace)
    .map(({ info }) => info.name);
  return [...new Set(captured)].toSorted();
}

/** The workloads of a namespace that the tunnel of one node knows. */
export async function workloadsOf(
  cluster: Cluster,
  { node, namespace }: { readonly node: string; readonly namespace: string },
): Promise<readonly KnownWorkload[]> {
  const [pod = ''] = await tunnelPods(cluster, '--field-selector', `spec.nodeName=${node}`);
  const { workloads } = await configDump(cluster, pod);
  return workloads.filter((workload) => workload.namespace === namespace);
}

/** Resolves when every pod of the namespace is captured, and only those. */
export async function untilCaptured(cluster: Cluster, app: AppNamespace): Promise<void> {
  await vi.waitFor(async () => expect(await capturedPods(cluster, app.name)).toEqual(await app.podNames()), {
    timeout: 20_000,
    interval: 200,
  });
}

/** Resolves when no pod of the namespace is. */
export async function untilLetGo(cluster: Cluster, app: AppNamespace): Promise<void> {
  const none = async () => expect(await capturedPods(cluster, app.name)).toEqual([]);
  await vi.waitFor(none, { timeout: 20_000, interval: 200 });
}

export interface KnownKubelets {
  readonly kubelets: readonly { readonly pid: number; readonly cgroup?: string; readonly problem?: string }[];
  readonly kubeletProbes: number;
}

/** What the node tunnel of a node knows of its kubelet. */
export async function knownKubelets(cluster: Cluster, node: string): Promise<KnownKubelets> {
  const [pod = ''] = await tunnelPods(cluster, `--field-selector=spec.nodeName=${node}`);
  return await configDump(cluster, pod);
}

/** Ends the node tunnel's process of a node at once; its container is started again by the kubelet. */
export async function killNodeTunnel(cluster: Cluster, node: string): Promise<void> {
  await signalNodeTunnel(cluster, node, 'KILL');
}

/** `STOP` makes it deaf until `CONT`. */
export async function signalNodeTunnel(
  cluster: Cluster,
  node: string,
  signal: 'KILL' | 'STOP' | 'CONT',
): Promise<void> {
  const kill = `for p in /proc/[0-9]*; do grep -qs "ztunnel/main[.]js" $p/cmdline && kill -${signal} \${p#/proc/}; done; true`;
  const { status, stderr } = await cluster.execOnNode(node, ['bash', '-c', kill]);
  if (status !== 0) throw new ClusterError('command', `Could not signal the node tunnel: ${stderr.trim()}`);
}

/** How often the node tunnels' containers were started again, in all. */
export async function tunnelRestarts({ kubectl }: Cluster): Promise<number> {
  const { items } = await kubectl.json<{
    items: { status: { containerStatuses?: { restartCount: number }[] } }[];
  }>(['get', 'pods', '-n', meshNamespace, '-l', 'app.kubernetes.io/name=weft-ztunnel']);
  return items
    .flatMap(({ status }) => status.containerStatuses ?? [])
    .reduce((n, s) => n + s.restartCount, 0);
}

async function tunnelPods(
  { kubectl }: Cluster,
  ...restriction: readonly string[]
): Promise<readonly string[]> {
  const selector = ['-l', 'app.kubernetes.io/name=weft-ztunnel', ...restriction, '-o', 'name'];
  const names = await kubectl.ok(['get', 'pods', '-n', meshNamespace, ...selector]);
  return names.trim().split('\n');
}

async function configDump({ kubectl }: Cluster, pod: string): Promise<Dump> {
  return JSON.parse(await adminDump(kubectl, `${meshNamespace}/${pod}`)) as Dump;
}

/** What a node tunnel or waypoint knows, as its admin page has it. @param pod `namespace/pod` */
export async function adminDump(kubectl: Kubectl, pod: string): Promise<string> {
  const script = `process.stdout.write(await (await fetch("${adminPage}/config_dump")).text())`;
  const argv = ['/usr/local/bin/node', '--input-type=module', '--eval', script];
  const { status, stdout, stderr } = await kubectl.exec(pod, argv);
  if (status !== 0) throw new ClusterError('command', `No config dump of ${pod}: ${stderr.trim()}`);
  return stdout;
}
