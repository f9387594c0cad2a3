// What an end to end test needs of a cluster, whichever backend runs it. A cluster is throw-away: nothing in it is kept,
// and whoever brought it up takes it down. Its nodes have real kubelets, a real container runtime and a real CNI.

import type { Finished } from '../kubernetes/command.ts';
import type { Kubectl } from './kubectl.ts';

/** `local`: real programs in namespaces of this machine. `kind`: nodes as containers of Docker. */
export type Backend = 'local' | 'kind';

export type KubeProxyMode = 'nftables' | 'iptables';

export interface ClusterOptions {
  readonly kubeProxyMode: KubeProxyMode;
  /** Archives (docker save) that every node has from its start. */
  readonly images: readonly string[];
}

export interface ExecOptions {
  readonly input?: string | Buffer;
}

/** A part of a node that can be restarted alone. */
export type NodeService = 'containerd' | 'kubelet' | 'kube-proxy';

export interface Cluster extends AsyncDisposable {
  readonly backend: Backend;
  /** File of a user who may do everything. */
  readonly kubeconfig: string;
  /** Names of the nodes that take pods. */
  readonly nodes: readonly string[];
  readonly kubectl: Kubectl;
  /** Resolves when every node is ready and names are resolved. Throws ClusterError. */
  up(options: ClusterOptions): Promise<void>;
  /** Leaves nothing behind. Idempotent. */
  down(): Promise<void>;
  /** Gives every running node the images of an archive (docker save). */
  loadImage(archive: string): Promise<void>;
  /** Runs a program on a node as root, in the node's own namespaces. */
  execOnNode(node: string, argv: readonly string[], options?: ExecOptions): Promise<Finished>;
  /** As if its power was cut: every process of the node ends, pods too. */
  killNode(node: string): Promise<void>;
  /** Starts a node again that was killed; its disk is as it was. Resolves when it is Ready. */
  restartNode(node: string): Promise<void>;
  /** Kills one service of a node; the node starts it again by itself. */
  restartService(node: string, service: NodeService): Promise<void>;
  /** Every kube-proxy is started again in this mode; rules of the other are gone when they are ready. */
  setKubeProxyMode(mode: KubeProxyMode): Promise<void>;
  /** Path of a node's network namespace, for packet captures. */
  netnsOf(node: string): Promise<string>;
  /** Copies the logs of everything into a folder. */
  collectLogs(folder: string): Promise<void>;
}
