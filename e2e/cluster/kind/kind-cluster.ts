// A cluster of kind: each node a container of Docker. Written to kind's documentation; kind and docker are the user's.
// https://kind.sigs.k8s.io/docs/user/configuration/ and .../quick-start/.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Finished, run } from '../../kubernetes/command.ts';
import type { Cluster, ClusterOptions, ExecOptions, KubeProxyMode, NodeService } from '../cluster.ts';
import { ClusterError } from '../cluster-error.ts';
import { Kubectl } from '../kubectl.ts';

export interface KindClusterOptions {
  /** Name of the cluster, and first part of its containers' names. */
  readonly name: string;
  /** Directory for its kubeconfig and configuration. */
  readonly directory: string;
  /** How many nodes take pods. */
  readonly workers: number;
  readonly kubectl: string;
}

/** Units of systemd in a node, but for kube-proxy, which is a pod there. */
const units: Readonly<Record<Exclude<NodeService, 'kube-proxy'>, string>> = {
  containerd: 'containerd',
  kubelet: 'kubelet',
};

export class KindCluster implements Cluster {
  readonly backend = 'kind';
  readonly kubectl: Kubectl;
  readonly #options: KindClusterOptions;

  constructor(options: KindClusterOptions) {
    this.#options = options;
    this.kubectl = new Kubectl(options.kubectl, this.kubeconfig);
  }

  get kubeconfig(): string {
    return join(this.#options.directory, 'admin.kubeconfig');
  }

  /** The containers of workers: `NAME-worker`, `NAME-worker2` and so on. The control plane takes no pods. */
  get nodes(): readonly string[] {
    return Array.from({ length: this.#options.workers }, (_, index) => {
      const suffix = index === 0 ? '' : `${index + 1}`;
      return `${this.#options.name}-worker${suffix}`;
    });
  }

  async up({ kubeProxyMode, images }: ClusterOptions): Promise<void> {
    const { name, directory, workers } = this.#options;
    mkdirSync(directory, { recursive: true });
    const config = {
      kind: 'Cluster',
      apiVersion: 'kind.x-k8s.io/v1alpha4',
      networking: { kubeProxyMode },
      nodes: [{ role: 'control-plane' }, ...Array.from({ length: workers }, () => ({ role: 'worker' }))],
    };
    const file = join(directory, 'kind.json');
    writeFileSync(file, JSON.stringify(config));
    const where = ['--name', name, '--kubeconfig', this.kubeconfig];
    await kind(['create', 'cluster', ...where, '--config', file, '--wait', '5m']);
    for (const archive of images) await this.loadImage(archive);
    // The systemd of a machine mounts it, that of a container may not.
    const mountBpffs = 'mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf';
    for (const node of this.nodes) await docker(['exec', node, 'sh', '-c', mountBpffs]);
  }

  async down(): Promise<void> {
    await kind(['delete', 'cluster', '--name', this.#options.name, '--kubeconfig', this.kubeconfig]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async loadImage(archive: string): Promise<void> {
    await kind(['load', 'image-archive', archive, '--name', this.#options.name]);
  }

  async execOnNode(node: string, argv: readonly string[], { input }: ExecOptions = {}): Promise<Finished> {
    const stdin = input === undefined ? [] : ['-i'];
    const options = input === undefined ? {} : { stdin: input };
    return await run(['docker', 'exec', ...stdin, this.#known(node), ...argv], options);
  }

  async killNode(node: string): Promise<void> {
    await docker(['kill', this.#known(node)]);
  }

  async restartNode(node: string): Promise<void> {
    await docker(['start', this.#known(node)]);
    await this.kubectl.ok(['wait', '--for=condition=Ready', `node/${node}`, '--timeout=120s']);
  }

  async restartService(node: string, service: NodeService): Promise<void> {
    if (service === 'kube-proxy') {
      const onNode = ['-l', 'k8s-app=kube-proxy', '--field-selector', `spec.nodeName=${this.#known(node)}`];
      await this.kubectl.ok(['delete', 'pod', '-n', 'kube-system', ...onNode]);
      return;
    }
    const unit = units[service];
    await docker(['exec', this.#known(node), 'systemctl', 'kill', '--signal=SIGKILL', unit]);
    await docker(['exec', node, 'systemctl', 'start', unit]);
  }

  async setKubeProxyMode(mode: KubeProxyMode): Promise<void> {
    const configMap = ['configmap', 'kube-proxy', '-n', 'kube-system'];
    const { data } = await this.kubectl.json<{ data: Record<string, string> }>(['get', ...configMap]);
    const config = data['config.conf']?.replace(/^mode: .*$/m, `mode: ${mode}`);
    const patch = JSON.stringify({ data: { 'config.conf': config } });
    await this.kubectl.ok(['patch', ...configMap, '--type=merge', '-p', patch]);
    await this.kubectl.ok(['rollout', 'restart', '-n', 'kube-system', 'daemonset/kube-proxy']);
    await this.kubectl.rolledOut('kube-system', 'daemonset/kube-proxy', 120);
  }

  async netnsOf(node: string): Promise<string> {
    const argv = ['docker', 'inspect', '--format', '{{.State.Pid}}', this.#known(node)];
    const { status, stdout, stderr } = await run(argv);
    if (status !== 0) throw new ClusterError('command', `docker inspect failed: ${stderr.trim()}`);
    return `/proc/${stdout.trim()}/ns/net`;
  }

  async collectLogs(folder: string): Promise<void> {
    mkdirSync(dirname(folder), { recursive: true });
    await kind(['export', 'logs', folder, '--name', this.#options.name]);
  }

  #known(node: string): string {
    if (this.nodes.includes(node)) return node;
    throw new ClusterError('no-such-node', `This cluster has no node "${node}"`);
  }
}

async function kind(args: readonly string[]): Promise<void> {
  await command(['kind', ...args]);
}

async function docker(args: readonly string[]): Promise<void> {
  await command(['docker', ...args]);
}

async function command(argv: readonly string[]): Promise<void> {
  const { status, stderr } = await run(argv);
  if (status !== 0) throw new ClusterError('command', `${argv.join(' ')} failed: ${stderr.trim()}`);
}
