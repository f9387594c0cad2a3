// The data plane without a controller: nodes, each with a redirect and a data worker of its own, pods in real network
// namespaces, and a model made by hand. Certificates are of a test authority. Everything of it is in this process
// except the traffic, which goes through the kernel as in production.

import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { currentNetnsCookie } from '../../bpf/pod-capture.ts';
import { FlowMaps } from '../../bpf/flow-maps.ts';
import { Redirect } from '../../bpf/redirect.ts';
import { TestNetwork, type TestPod } from '../../bpf/testing/test-network.ts';
import { TestAuthority } from '../../mesh/io/testing/authority.ts';
import type { TlsCredentials } from '../../mesh/io/tls-context.ts';
import { withNetns } from '../../mesh/io/netns.ts';
import { makeWorkload } from '../../mesh/model/fixture.ts';
import { emptyDelta, type ModelDelta } from '../../mesh/model/model.ts';
import type { NodePod } from '../../mesh/model/node-pod.ts';
import { formatSpiffeId, identityOf, type SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import { SameNodeMaps } from '../../bpf/same-node-maps.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { Store } from '../../mesh/state/store.ts';
import type { ConnectionSummary } from '../connection-table.ts';
import { SameNode } from '../same-node.ts';
import { SameNodeReport } from '../same-node-report.ts';
import { DataWorker } from '../data-worker.ts';
import { openPodListeners } from '../pod-listeners.ts';
import { ports } from '../ports.ts';
import { makeSelfProbeSecret } from '../self-probe-proof.ts';
import type { DataPlaneSettings, ToWorker } from '../worker-messages.ts';
import type { HostnameAnswer } from '../../mesh/proxy/hostname-lookups.ts';
import { within } from './pod-sockets.ts';

export interface RigPod extends TestPod {
  readonly node: RigNode;
  readonly workload: Workload;
  readonly spiffeId: SpiffeId;
}

export interface RigPodOptions {
  readonly node?: string;
  readonly serviceAccount?: string;
  /** False: outside the mesh. */
  readonly enrolled?: boolean;
  readonly workload?: Partial<Workload>;
}

export type ModelChange = Omit<Partial<ModelDelta>, 'removed'> & {
  readonly removed?: Partial<ModelDelta['removed']>;
};

const settings: DataPlaneSettings = {
  connectTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  idleTimeoutMs: 0,
  halfClosedTimeoutMs: 60_000,
  liveness: { pingAfterMs: 10_000, pingTimeoutMs: 20_000, unusedReleaseMs: 300_000 },
  workers: 1,
  maxConnections: 10_000,
  bufferBudgetBytes: 256 * 1024 * 1024,
  logFormat: 'text',
};

export interface RigOptions {
  /** With the same-node path; default without. */
  readonly sameNode?: boolean;
}

/** One node: what `weft ztunnel` has, without the main thread's other work. */
export class RigNode {
  readonly name: string;
  readonly redirect = Redirect.open({});
  /** As many as the settings say; default one. */
  readonly workers: readonly DataWorker[];
  readonly flows: FlowMaps;
  readonly selfProbeSecret = makeSelfProbeSecret();
  /** What the worker said beside the access log; a test that expects none asserts that. */
  readonly problems: string[] = [];
  /** Only of a rig that was opened with it. */
  sameNode: SameNode | undefined;
  readonly report: SameNodeReport;
  readonly store = new Store();
  /** Pods whose certificates shall count as expired. */
  readonly unidentified = new Set<string>();
  /** Addresses of endpoints that are names; a test that has such ones puts its own here. */
  lookUp: (hostname: string) => Promise<HostnameAnswer> = (hostname) =>
    Promise.resolve({ kind: 'failed', reason: `the test knows no ${hostname}` });
  #text = '';
  #wake = new Set<() => void>();

  constructor(name: string, overrides: Partial<DataPlaneSettings>, options: RigOptions) {
    this.name = name;
    this.report = new SameNodeReport({
      clock: systemClock,
      format: 'text',
      write: (text) => this.#addText(text),
    });
    if (options.sameNode === true) this.sameNode = this.openSameNode();
    this.flows = new FlowMaps(this.redirect.fds);
    const own = { ...settings, ...overrides };
    this.workers = Array.from({ length: own.workers }, (_, index) => this.#startWorker(own, index));
  }

  /** The only one, where there is one. */
  get worker(): DataWorker {
    return this.workers[0] as DataWorker;
  }

  #startWorker(own: DataPlaneSettings, index: number): DataWorker {
    const worker: DataWorker = new DataWorker(
      {
        settings: own,
        flowMaps: this.redirect.fds,
        selfProbe: { secret: this.selfProbeSecret, worker: index },
      },
      {
        onAccessLog: (text) => this.#addText(text),
        onProven: (connection) => this.sameNode?.learn(connection),
        onLookUp: (hostname) => {
          void this.lookUp(hostname).then((answer) => worker.post({ kind: 'looked-up', hostname, answer }));
        },
        onLog: (_level, message, fields) => this.problems.push(`${message} ${JSON.stringify(fields)}`),
        onDied: (error) => this.problems.push(`died: ${error.message}`),
      },
    );
    return worker;
  }

  /** A second one takes over from the first, as the next process does. */
  openSameNode(): SameNode {
    const sameNode = new SameNode({
      maps: new SameNodeMaps(this.redirect.sameNodeFds),
      snapshot: () => this.store.snapshot(),
      isIdentified: (pod) => !this.unidentified.has(pod.uid),
      report: this.report,
      clock: systemClock,
      logger: createLogger({
        component: 'same-node',
        level: 'error',
        destination: { write: (text) => this.problems.push(text) },
      }),
    });
    this.store.subscribe((_snapshot, delta) => sameNode.modelChanged(delta));
    sameNode.start();
    return sameNode;
  }

  /** From here on workers and pods are its business. */
  switchTo(sameNode: SameNode): void {
    this.sameNode = sameNode;
  }

  /** Tells it of a pod that is captured already. */
  adopt(pod: RigPod, sameNode: SameNode): void {
    const netnsCookie = withNetns(pod.netnsPath, currentNetnsCookie);
    sameNode.podCaptured(nodePod(pod), { netnsCookie, netnsPath: pod.netnsPath });
  }

  /** As the main thread does: the kernel first. */
  apply(delta: ModelDelta): void {
    this.store.apply(delta);
    this.post({ kind: 'model', delta });
  }

  /** To every worker. */
  post(message: ToWorker): void {
    for (const worker of this.workers) worker.post(message);
  }

  #addText(text: string): void {
    this.#text += text;
    for (const wake of this.#wake) wake();
  }

  get log(): readonly string[] {
    return this.#text.split('\n').slice(0, -1);
  }

  /** The first line from line `from` on that matches. */
  logLine(pattern: RegExp, from = 0): Promise<string> {
    const find = () => this.log.slice(from).find((line) => pattern.test(line));
    let look = (): void => {};
    const found = new Promise<string>((resolve) => {
      look = () => {
        const line = find();
        if (line !== undefined) resolve(line);
      };
      this.#wake.add(look);
      look();
    });
    return within(`a line like ${pattern} in the log of ${this.name}`, found).finally(() =>
      this.#wake.delete(look),
    );
  }

  async connections(): Promise<readonly ConnectionSummary[]> {
    return (await Promise.all(this.workers.map((worker) => worker.connections()))).flat();
  }

  /** Resolves when no connection is tracked any more. */
  async idle(): Promise<void> {
    const asked = async (): Promise<void> => {
      while ((await this.connections()).length > 0) await delay(10);
    };
    await within(`node ${this.name} to have no connection`, asked());
  }

  async close(): Promise<void> {
    this.sameNode?.close();
    this.report.flush();
    await Promise.all(this.workers.map((worker) => worker.stop()));
    this.redirect.close({ keepPins: false });
  }
}

export class DataPlaneRig implements AsyncDisposable {
  readonly network = new TestNetwork();
  readonly authority: TestAuthority;
  readonly nodes: readonly RigNode[];
  readonly credentials = new Map<SpiffeId, TlsCredentials>();

  private constructor(authority: TestAuthority, nodes: readonly RigNode[]) {
    this.authority = authority;
    this.nodes = nodes;
  }

  /** Two nodes, `node-1` and `node-2`; no pod yet. */
  static async open(
    overrides: Partial<DataPlaneSettings> = {},
    options: RigOptions = {},
  ): Promise<DataPlaneRig> {
    const authority = await TestAuthority.create();
    return new DataPlaneRig(
      authority,
      ['node-1', 'node-2'].map((name) => new RigNode(name, overrides, options)),
    );
  }

  node(name: string): RigNode {
    const node = this.nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`No node ${name}`);
    return node;
  }

  /** Makes the pod, tells every node of it and has its own node capture it. */
  async addPod(label: string, options: RigPodOptions = {}): Promise<RigPod> {
    const test = this.network.addPod(label);
    const node = this.node(options.node ?? 'node-1');
    const workload = makeWorkload(`Kubernetes//Pod/shop/${label}`, {
      name: label,
      workloadName: label,
      canonicalName: label,
      addresses: [test.ipv4, test.ipv6],
      node: node.name,
      serviceAccount: options.serviceAccount ?? label,
      tunnelProtocol: options.enrolled === false ? 'none' : 'hbone',
      ...options.workload,
    });
    const pod: RigPod = { ...test, node, workload, spiffeId: formatSpiffeId(identityOf(workload)) };
    await this.apply({ workloads: [workload] });
    if (options.enrolled !== false) await this.capture(pod);
    return pod;
  }

  nodePod(pod: RigPod): NodePod {
    return nodePod(pod);
  }

  /** What the pod manager does when a pod is enrolled. */
  async capture(pod: RigPod): Promise<void> {
    const { node, spiffeId } = pod;
    if (!this.credentials.has(spiffeId)) await this.renew(spiffeId);
    const own = nodePod(pod);
    const sets = openPodListeners(own, node.workers.length);
    const { netnsCookie } = node.redirect.attach(own.uid, {
      netnsPath: pod.netnsPath,
      addresses: own.addresses,
      outboundPort: ports.outbound,
      hboneListeners: sets.flatMap(({ hbone }) => hbone),
      plaintextListeners: sets.flatMap(({ plaintext }) => plaintext),
      outboundListeners: sets.flatMap(({ outbound }) => outbound),
    });
    for (const [i, listeners] of sets.entries())
      node.workers[i]?.post({ kind: 'pod-added', workerPod: { pod: own, listeners } });
    node.sameNode?.podCaptured(own, { netnsCookie, netnsPath: pod.netnsPath });
  }

  async release(pod: RigPod, how: 'drain' | 'now'): Promise<void> {
    pod.node.sameNode?.podReleased(pod.workload.uid, how);
    pod.node.redirect.detach(pod.workload.uid);
    pod.node.post({ kind: 'pod-removed', uid: pod.workload.uid, how });
    await pod.node.connections();
  }

  /** Issues a certificate for the identity and gives it to every node; `credentials` in place of a good one. */
  async renew(spiffeId: SpiffeId, credentials?: TlsCredentials): Promise<void> {
    const issued = credentials ?? (await this.authority.issue({ uris: [spiffeId] }));
    this.credentials.set(spiffeId, issued);
    await this.tellAll({ kind: 'certificate', spiffeId, credentials: issued });
  }

  /** Resolves when every node has the change: what a node acknowledges to its controller. */
  async apply(change: ModelChange): Promise<void> {
    const delta = deltaOf(change);
    for (const node of this.nodes) node.apply(delta);
    await this.settled();
  }

  /** As `apply`, for a single node: the others have not heard of it yet. */
  async applyOn(node: RigNode, change: ModelChange): Promise<void> {
    node.apply(deltaOf(change));
    await node.connections();
  }

  async tellAll(message: ToWorker): Promise<void> {
    for (const node of this.nodes) node.post(message);
    await this.settled();
  }

  async settled(): Promise<void> {
    // Messages are handled in order, so an answer to this shows that the one before has taken effect.
    await Promise.all(this.nodes.map((node) => node.connections()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) await node.close();
    this.network.dispose();
  }
}

function deltaOf(change: ModelChange): ModelDelta {
  return { ...emptyDelta, ...change, removed: { ...emptyDelta.removed, ...change.removed } };
}

/** Tunnels from one pod, to the IPv4 address of another or to anybody. */
export function tunnelsFrom(from: TestPod, to?: TestPod): number {
  const filter = to === undefined ? ['dport', '=', ':15008'] : ['dst', `${to.ipv4}:15008`];
  const ss = ['netns', 'exec', from.name, 'ss', '-Htn', 'state', 'established', ...filter];
  const list = execFileSync('ip', ss).toString();
  return list.split('\n').filter((line) => line !== '').length;
}

function nodePod(pod: RigPod): NodePod {
  const { uid, name, namespace, serviceAccount, trustDomain, node } = pod.workload;
  return {
    uid,
    name,
    namespace,
    serviceAccount,
    trustDomain,
    node,
    addresses: [pod.ipv4, pod.ipv6],
    netns: pod.netnsPath,
    enrolled: true,
  };
}
