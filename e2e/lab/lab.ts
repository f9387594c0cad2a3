// A network of its own on this machine: nodes, pods and a control host as network namespaces, joined by one link.
// Owns namespaces, processes, agents and captures, and removes them all; what they run is its caller's business.
// Needs root. The plan of addresses and routes is topology.ts.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, agentArgv } from './agent.ts';
import { command, ipBatch, writeSettings } from './command.ts';
import { LabError } from './lab-error.ts';
import { LabProcess, type ProcessOptions } from './lab-process.ts';
import { LabState } from './lab-state.ts';
import { PacketCapture } from './packet-capture.ts';
import {
  type Address,
  controlAddress,
  controlToPodsCommands,
  type HostPlan,
  linkCommands,
  linkHostCommands,
  nodeAddress,
  peerNodeCommands,
  plugCommands,
  podAddress,
  podCommands,
  podOnNodeCommands,
  podToControlCommands,
  resolvConf,
} from './topology.ts';

/** A node, pod or the control host of a lab. */
export interface LabHost extends HostPlan {
  /** For manifests and `setns`. */
  readonly netnsPath: string;
}

export interface PodOptions {
  readonly name: string;
  /** The Kubernetes namespace, for the search list of resolv.conf. */
  readonly podNamespace: string;
  /** Within the node's range, see podAddress; the next free one by default. */
  readonly address?: Address;
  /** It can reach the control host; ordinary pods can not. */
  readonly reachesControl?: boolean;
}

export class Lab implements AsyncDisposable {
  readonly control: LabHost;
  readonly #state: LabState;
  readonly #nodes: LabHost[] = [];
  readonly #pods: LabHost[] = [];
  readonly #processes = new Set<LabProcess>();
  readonly #captures = new Set<PacketCapture>();
  /** Nodes to whose pods the control host has a way. */
  readonly #nodesOfControl = new Set<number>();
  #closed = false;

  private constructor(state: LabState) {
    this.#state = state;
    this.#makeNamespace('link');
    ipBatch(state.namespace('link'), linkCommands());
    this.control = this.#makeLinkHost('control', 'control', controlAddress);
  }

  /** Builds the link and the control host; removes first what a crashed run of the same name left. */
  static open(name: string): Lab {
    const state = LabState.open(name);
    try {
      return new Lab(state);
    } catch (error) {
      state.remove();
      throw error;
    }
  }

  /** Where logs and other files of this lab go. */
  get directory(): string {
    return this.#state.directory;
  }

  get pods(): readonly LabHost[] {
    return this.#pods;
  }

  addNode(name: string): LabHost {
    const index = this.#nodes.length + 1;
    const node = this.#makeLinkHost('node', name, nodeAddress(index));
    writeSettings(node.namespace, { 'net/ipv4/ip_forward': '1', 'net/ipv6/conf/all/forwarding': '1' });
    for (const [other, peer] of this.#nodes.entries()) {
      ipBatch(node.namespace, peerNodeCommands(other + 1));
      ipBatch(peer.namespace, peerNodeCommands(index));
    }
    this.#nodes.push(node);
    return node;
  }

  addPod(node: LabHost, options: PodOptions): LabHost {
    const nodeIndex = this.#nodes.indexOf(node) + 1;
    if (nodeIndex === 0) throw new LabError('command', `Host "${node.name}" is not a node of this lab`);
    const address = options.address ?? podAddress(nodeIndex, this.#pods.length + 1);
    const pod = this.#host({ kind: 'pod', name: options.name, address, node: node.name });
    this.#makeNamespace(pod.name);
    ipBatch(node.namespace, podOnNodeCommands(nodeIndex, pod));
    ipBatch(pod.namespace, podCommands(nodeIndex, pod));
    if (options.reachesControl === true) this.#joinControl(nodeIndex, pod);
    const configuration = join('/etc/netns', pod.namespace);
    this.#state.addPath(configuration);
    mkdirSync(configuration, { recursive: true });
    writeFileSync(join(configuration, 'resolv.conf'), resolvConf(options.podNamespace));
    this.#pods.push(pod);
    return pod;
  }

  /** Starts a program inside a host; `view` defaults to the host's kind. */
  spawn(host: LabHost, options: Omit<ProcessOptions, 'view'>): LabProcess {
    const process_ = new LabProcess(this.#state, host.namespace, {
      ...options,
      view: host.kind === 'pod' ? 'pod' : 'node',
    });
    this.#processes.add(process_);
    process_.ended.addEventListener('abort', () => this.#processes.delete(process_));
    return process_;
  }

  /** Starts an agent inside a host: see agent-protocol.ts for what it can do there. */
  agent(host: LabHost): Agent {
    return new Agent(this.spawn(host, { name: `agent-${host.name}`, argv: agentArgv, channel: true }));
  }

  /** Captures every frame on the link between the nodes from now on (at each port of the bridge that it passes). */
  capture(): PacketCapture {
    const capture = new PacketCapture(this.#state.namespace('link'));
    this.#captures.add(capture);
    return capture;
  }

  /** Captures what one host's interface `eth0` sends and receives. */
  captureAt(host: LabHost): PacketCapture {
    const capture = new PacketCapture(host.namespace, 'eth0');
    this.#captures.add(capture);
    return capture;
  }

  /** A file or directory outside the lab that goes with it. */
  own(path: string): void {
    this.#state.addPath(path);
  }

  /** Leaves everything running after this process ends; the next `open` or `removeLab` takes it away. */
  keep(): void {
    this.#state.keep();
    for (const process_ of this.#processes) process_.release();
    this.#closed = true;
  }

  /** Ends the processes and removes everything, also when called twice; logs stay when `keepFiles`. */
  async close(options: { readonly keepFiles?: boolean } = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const capture of this.#captures) capture[Symbol.dispose]();
    // Last started, first ended: clients before servers, tunnels before their controller.
    for (const process_ of [...this.#processes].toReversed()) await process_.stop('SIGTERM', 3000);
    this.#state.remove(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #joinControl(nodeIndex: number, pod: LabHost): void {
    ipBatch(pod.namespace, podToControlCommands(nodeIndex, pod));
    if (this.#nodesOfControl.has(nodeIndex)) return;
    this.#nodesOfControl.add(nodeIndex);
    ipBatch(this.control.namespace, controlToPodsCommands(nodeIndex));
  }

  #host(plan: Omit<HostPlan, 'namespace'>): LabHost {
    const namespace = this.#state.namespace(plan.name);
    return { ...plan, namespace, netnsPath: `/run/netns/${namespace}` };
  }

  #makeLinkHost(kind: 'node' | 'control', name: string, address: HostPlan['address']): LabHost {
    const host = this.#host({ kind, name, address });
    this.#makeNamespace(name);
    ipBatch(this.#state.namespace('link'), plugCommands(host));
    ipBatch(host.namespace, linkHostCommands(host));
    return host;
  }

  #makeNamespace(host: string): void {
    const namespace = this.#state.namespace(host);
    command(['ip', 'netns', 'add', namespace]);
    // No duplicate address detection: addresses must be usable at once, and nobody else is on these links.
    writeSettings(namespace, {
      'net/ipv6/conf/default/accept_dad': '0',
      'net/ipv6/conf/all/accept_dad': '0',
      'net/ipv6/conf/default/accept_ra': '0',
      'net/ipv4/conf/default/rp_filter': '0',
      'net/ipv4/conf/all/rp_filter': '0',
    });
  }
}
