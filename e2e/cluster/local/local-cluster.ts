// A cluster of real programs without Docker: the control plane as processes of this one, each node a set of namespaces.
// To be used inside isolated-run.ts only. The process that calls up() holds the control plane; others attach to the
// same cluster by its directory, for everything but up() and down().

import { cpSync, existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterKeys } from '../../kubernetes/cluster-keys.ts';
import type { Finished } from '../../kubernetes/command.ts';
import type { Cluster, ClusterOptions, ExecOptions, KubeProxyMode, NodeService } from '../cluster.ts';
import { ClusterError } from '../cluster-error.ts';
import { Kubectl } from '../kubectl.ts';
import { cgroupRoots, removeCgroups } from './cgroups.ts';
import { ControlPlane, createClusterKeys } from './control-plane.ts';
import { ip, ipBatch, LocalNode } from './local-node.ts';
import { apiServerUrl, bridgeCommands, networkPlan, nodePlan } from './network-plan.ts';
import { nodeFiles } from './node-files.ts';
import type { Run } from './runs.ts';

export interface LocalClusterOptions {
  readonly run: Run;
  readonly etcd: string;
  /** Folder with every program of Kubernetes and kubectl. */
  readonly programs: string;
  readonly workers: number;
}

interface NodeSetup {
  readonly keys: ClusterKeys;
  /** Path of a file. */
  readonly proxyKubeconfig: string;
  readonly options: ClusterOptions;
}

const corednsManifest = fileURLToPath(new URL('../manifests/coredns.yaml', import.meta.url));

/** Files of /proc/sys that the kubelet reads, and what it wants to find there. */
const sysctls: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

export class LocalCluster implements Cluster {
  readonly backend = 'local';
  readonly kubectl: Kubectl;
  readonly #options: LocalClusterOptions;
  readonly #state: string;
  #controlPlane: ControlPlane | undefined;
  readonly #nodes: readonly LocalNode[];

  constructor(options: LocalClusterOptions) {
    this.#options = options;
    this.#state = join(options.run.directory, 'cluster');
    this.kubectl = new Kubectl(join(options.programs, 'kubectl'), this.kubeconfig);
    const { programs, run, workers } = options;
    const shared = { runName: run.name, state: this.#state, programs };
    this.#nodes = Array.from(
      { length: workers },
      (_, index) => new LocalNode({ plan: nodePlan(index + 1), ...shared }),
    );
  }

  get kubeconfig(): string {
    return join(this.#state, 'admin.kubeconfig');
  }

  get nodes(): readonly string[] {
    return this.#nodes.map(({ name }) => name);
  }

  async up(options: ClusterOptions): Promise<void> {
    assertHierarchies();
    this.#prepareState(options);
    const keys = await createClusterKeys(join(this.#state, 'keys'));
    const admin = await keys.kubeconfig({ user: 'admin', groups: ['system:masters'] }, apiServerUrl);
    cpSync(admin, this.kubeconfig);
    // One for all nodes; made before any of them, or they would write its key and certificate over each other's.
    const proxyKubeconfig = await keys.kubeconfig({ user: 'system:kube-proxy' }, apiServerUrl);
    await ipBatch(bridgeCommands());
    this.#controlPlane = new ControlPlane(keys, { ...this.#options, state: this.#state });
    const ready = this.#controlPlane.start(this.kubectl);
    // Nodes load their images while the API server starts.
    const started = Promise.all(
      this.#nodes.map((node) => this.#startNode(node, { keys, proxyKubeconfig, options })),
    );
    await Promise.all([ready, started]);
    writeFileSync(join(this.#state, 'api-ready'), '');
    await this.#nodesReady(this.nodes);
    await this.kubectl.apply(readFileSync(corednsManifest, 'utf8'));
    await this.kubectl.exists(['serviceaccount/default']);
    await this.kubectl.rolledOut('kube-system', 'deployment/coredns');
  }

  async down(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.kill()));
    await this.#controlPlane?.stop();
    this.#controlPlane = undefined;
    await ip(['link', 'delete', networkPlan.bridge]);
    await removeCgroups(this.#options.run.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async loadImage(archive: string): Promise<void> {
    const input = readFileSync(archive);
    for (const node of this.#nodes) {
      const { status, stderr } = await node.exec(['ctr', '-n', 'k8s.io', 'images', 'import', '-'], { input });
      if (status !== 0) throw new ClusterError('command', `Could not load ${archive}: ${stderr.trim()}`);
    }
  }

  async execOnNode(node: string, argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return await this.#node(node).exec(argv, options);
  }

  async killNode(node: string): Promise<void> {
    await this.#node(node).kill();
    await removeCgroups(this.#options.run.name, node);
  }

  async restartNode(node: string): Promise<void> {
    await this.#node(node).start(this.#nodes.map(({ plan }) => plan));
    await this.#nodesReady([node]);
  }

  async restartService(node: string, service: NodeService): Promise<void> {
    await this.#node(node).killService(service);
  }

  async setKubeProxyMode(mode: KubeProxyMode): Promise<void> {
    for (const node of this.#nodes) {
      node.changeFile('kube-proxy.json', (text) =>
        JSON.stringify({ ...(JSON.parse(text) as object), mode }, undefined, 2),
      );
      await node.killService('kube-proxy');
    }
  }

  netnsOf(node: string): Promise<string> {
    return Promise.resolve(join('/run/netns', this.#node(node).plan.netns));
  }

  async collectLogs(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    const copies: [string, string][] = [[join(this.#state, 'log'), 'control-plane']];
    for (const { name, directory } of this.#nodes) {
      copies.push([join(directory, 'log'), name], [join(directory, 'disk/pod-logs'), join(name, 'pods')]);
    }
    for (const [source, target] of copies) {
      if (existsSync(source)) cpSync(source, join(folder, target), { recursive: true });
    }
  }

  #prepareState({ images }: ClusterOptions): void {
    mkdirSync(join(this.#state, 'images'), { recursive: true });
    for (const archive of images) linkSync(archive, join(this.#state, 'images', basename(archive)));
    writeFileSync(join(this.#state, 'resolv.conf'), 'options ndots:5\n');
    for (const [name, value] of Object.entries(sysctls)) {
      const file = join(this.#state, 'sysctl', name);
      mkdirSync(join(file, '..'), { recursive: true });
      writeFileSync(file, `${value}\n`);
    }
  }

  async #startNode(node: LocalNode, { keys, proxyKubeconfig, options }: NodeSetup): Promise<void> {
    const identity = { user: `system:node:${node.name}`, groups: ['system:nodes'] };
    const files = nodeFiles({
      node: node.plan,
      authority: keys.path('ca.crt'),
      proxyKubeconfig,
      resolvConf: join(this.#state, 'resolv.conf'),
      kubeProxyMode: options.kubeProxyMode,
    });
    const kubeconfig = readFileSync(await keys.kubeconfig(identity, apiServerUrl), 'utf8');
    node.prepare({ ...files, 'kubelet.kubeconfig': kubeconfig });
    await node.start(this.#nodes.map(({ plan }) => plan));
  }

  async #nodesReady(names: readonly string[]): Promise<void> {
    const nodes = names.map((name) => `node/${name}`);
    try {
      await this.kubectl.exists(nodes, 180);
      await this.kubectl.ok(['wait', '--for=condition=Ready', ...nodes, '--timeout=60s']);
    } catch (cause) {
      const tails = this.#nodes.map((node) => `${node.name}: ${node.logTail()}`).join('\n');
      throw new ClusterError('timeout', `Nodes did not get ready; ends of their logs:\n${tails}`, { cause });
    }
  }

  #node(name: string): LocalNode {
    const node = this.#nodes.find((candidate) => candidate.name === name);
    if (node === undefined) throw new ClusterError('no-such-node', `This cluster has no node "${name}"`);
    return node;
  }
}

/** Where cgroup2 has all controllers, nodes would have to share them out first: not done yet. */
function assertHierarchies(): void {
  if (cgroupRoots().some((root) => root.endsWith('/memory'))) return;
  throw new ClusterError(
    'unsupported',
    'The local backend takes the cgroup v1 hierarchies, which this machine has not; install docker and kind',
  );
}
