// A whole mesh for one test file: a lab of two nodes, pods given in code, a controller reading a directory of manifests
// that the test writes, and a ztunnel a node, all started as a user would. Knows nothing of what is tested.

import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually } from '../demo/eventually.ts';
import type { Agent } from '../lab/agent.ts';
import type { HttpAnswer } from '../lab/agent-protocol.ts';
import { command } from '../lab/command.ts';
import { Lab, type LabHost } from '../lab/lab.ts';
import type { LabProcess } from '../lab/lab-process.ts';

export const project = join(import.meta.dirname, '../..');
const controllerPort = 15012;
export const apiPort = 8080;
export const echoPort = 9000;

export interface MeshPodPlan {
  readonly name: string;
  readonly node: string;
  /** Also the service account and the label `app`. */
  readonly app: string;
  /** Labels beside `app`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Default `shop`, which is in the mesh; `outside` is not. */
  readonly namespace?: string;
  /** The application, a file of the project; default e2e/apps/api.ts. It is told `--pod NAME` and says `listening`. */
  readonly program?: string;
  readonly netns?: string;
  /** It is for a waypoint: the pod of a Gateway, made with it, that is called as its app; without an application. */
  readonly waypoint?: boolean;
}

export interface MeshPod extends MeshPodPlan {
  readonly host: LabHost;
  readonly v4: string;
  readonly v6: string;
  /** An application's view from inside the pod. */
  readonly agent: Agent;
}

export interface MeshPlan {
  /** Unique among all labs: 1 to 8 of a-z0-9. */
  readonly name: string;
  readonly pods: readonly MeshPodPlan[];
  /** Namespaces in the mesh besides `shop`. */
  readonly enrolled?: readonly string[];
  /** Further flags of every ztunnel. */
  readonly tunnelFlags?: readonly string[];
  readonly controllerFlags?: readonly string[];
}

export class MeshLab {
  readonly lab: Lab;
  readonly nodes: readonly LabHost[];
  readonly #plan: MeshPlan;
  readonly #pods = new Map<string, MeshPod>();
  readonly #tunnels = new Map<string, LabProcess>();
  readonly #waypoints = new Map<string, LabProcess>();
  readonly #nodeAgents = new Map<string, Agent>();
  #controller: LabProcess | undefined;

  private constructor(plan: MeshPlan) {
    this.#plan = plan;
    this.lab = Lab.open(plan.name);
    this.lab.own(this.#pinDirectory);
    this.nodes = ['node-1', 'node-2'].map((name) => this.lab.addNode(name));
    for (const node of this.nodes) this.#nodeAgents.set(node.name, this.lab.agent(node));
  }

  /** Everything runs and every pod of namespace `shop` is captured when this resolves. */
  static async open(plan: MeshPlan): Promise<MeshLab> {
    const mesh = new MeshLab(plan);
    try {
      await mesh.#start();
      return mesh;
    } catch (error) {
      await mesh.close({ keepFiles: true });
      throw error;
    }
  }

  async close(options: { readonly keepFiles?: boolean } = {}): Promise<void> {
    await this.lab.close(options);
  }

  pod(name: string): MeshPod {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`No pod ${name}`);
    return pod;
  }

  get controller(): LabProcess {
    if (this.#controller === undefined) throw new Error('No controller was started');
    return this.#controller;
  }

  tunnel(node: string): LabProcess {
    const tunnel = this.#tunnels.get(node);
    if (tunnel === undefined) throw new Error(`No ztunnel was started on ${node}`);
    return tunnel;
  }

  get stateDirectory(): string {
    return join(this.lab.directory, 'state');
  }

  /** Puts one manifest file into the controller's directory in one step. */
  apply(name: string, ...objects: readonly object[]): void {
    const file = join(this.#configDirectory, `${name}.yaml`);
    writeFileSync(`${file}.new`, objects.map((object) => stringify(object)).join('---\n'));
    renameSync(`${file}.new`, file);
  }

  remove(name: string): void {
    rmSync(join(this.#configDirectory, `${name}.yaml`), { force: true });
  }

  /** Labels namespace `shop` into the mesh, or out of it. */
  enrol(enrolled: boolean): void {
    this.apply('namespace', namespaceObject('shop', enrolled));
  }

  /** One of the ztunnel's own pages. */
  async ask(node: string, port: number, path: string): Promise<HttpAnswer> {
    const agent = this.#nodeAgents.get(node);
    if (agent === undefined) throw new Error(`No node ${node}`);
    return await agent.call('http', { host: '127.0.0.1', port, path, timeoutMs: 5000 });
  }

  /** What the ztunnel says of its pods, by name: `Up`, `Pending` or `Failed` with the reason. */
  async podStates(node: string): Promise<ReadonlyMap<string, { state: string; reason?: string }>> {
    const dump = JSON.parse((await this.ask(node, 15000, '/config_dump')).body) as {
      workloadState: Record<string, { state: string; reason?: string; info: { name: string } }>;
    };
    return new Map(Object.values(dump.workloadState).map((entry) => [entry.info.name, entry]));
  }

  async connections(node: string): Promise<readonly { pod: string; direction: string; dst: string }[]> {
    return JSON.parse((await this.ask(node, 15000, '/connections')).body) as [];
  }

  /** Resolves when every pod in the mesh is captured, or none is. */
  async untilCaptured(captured = true): Promise<void> {
    const meshed = [...this.#pods.values()].filter(
      (pod) => pod.namespace !== 'outside' && pod.waypoint !== true,
    );
    await eventually(`${captured ? '' : 'not '}captured: all pods`, async () => {
      const states = await Promise.all(this.nodes.map((node) => this.podStates(node.name)));
      const up = meshed.filter((pod) => states.some((state) => state.get(pod.name)?.state === 'Up'));
      return up.length === (captured ? meshed.length : 0) ? true : undefined;
    });
  }

  async startController(): Promise<void> {
    const argv = ['--config', this.#configDirectory, '--state', this.stateDirectory];
    argv.push('--address', `${this.lab.control.address.v4}:${controllerPort}`);
    argv.push(...(this.#plan.controllerFlags ?? []));
    this.#controller = this.program(this.lab.control, 'controller', ['controller/main.ts', ...argv]);
    const from = this.#controller.log.mark();
    await this.#controller.waitForLine(/controller is ready/, { from, timeoutMs: 30_000 });
  }

  /** `flags` come after the plan's and override them. */
  async startTunnel(node: LabHost, flags: readonly string[] = []): Promise<LabProcess> {
    const argv = this.tunnelArguments(node, [...(this.#plan.tunnelFlags ?? []), ...flags]);
    const tunnel = this.program(node, `ztunnel-${node.name}`, argv);
    this.#tunnels.set(node.name, tunnel);
    const ended = new Promise<never>((_resolve, reject) => {
      tunnel.ended.addEventListener('abort', () => reject(tunnel.ended.reason as Error));
    });
    ended.catch(() => {});
    const ready = eventually(
      `ready: ${tunnel.name}`,
      async () => ((await this.ask(node.name, 15021, '/healthz/ready')).status === 200 ? true : undefined),
      30_000,
    );
    await Promise.race([ready, ended]);
    return tunnel;
  }

  waypoint(pod: string): LabProcess {
    const waypoint = this.#waypoints.get(pod);
    if (waypoint === undefined) throw new Error(`No waypoint was started in ${pod}`);
    return waypoint;
  }

  /** Starts the waypoint of the pod's Gateway in the pod; ready when this resolves. */
  async startWaypoint(
    { name, app, host, agent }: MeshPod,
    flags: readonly string[] = [],
  ): Promise<LabProcess> {
    const argv = ['--gateway', `shop/${app}`];
    argv.push('--controller', `${this.lab.control.address.v4}:${controllerPort}`);
    argv.push('--token-file', this.#token(`waypoint-${app}`, ['--waypoint', `shop/${app}`]));
    argv.push('--root-cert', join(this.stateDirectory, 'root-cert.pem'), '--state-dir', 'none');
    const waypoint = this.program(host, `waypoint-${name}`, ['waypoint/main.ts', ...argv, ...flags]);
    this.#waypoints.set(name, waypoint);
    await eventually(
      `ready: ${waypoint.name}`,
      async () => {
        const ready = { host: '127.0.0.1', port: 15021, path: '/healthz/ready', timeoutMs: 5_000 };
        return (await agent.call('http', ready)).status === 200 ? true : undefined;
      },
      30_000,
    );
    return waypoint;
  }

  tunnelArguments(node: LabHost, flags: readonly string[] = []): string[] {
    const argv = ['--node', node.name, '--controller', `${this.lab.control.address.v4}:${controllerPort}`];
    argv.push('--token-file', this.#token(node.name, ['--node', node.name]));
    argv.push('--root-cert', join(this.stateDirectory, 'root-cert.pem'));
    argv.push('--pin-dir', join(this.#pinDirectory, node.name));
    argv.push('--state-dir', join(this.lab.directory, `state-${node.name}`));
    return ['ztunnel/main.ts', ...argv, ...flags];
  }

  /** Starts one of the project's programs, or a script of a test, in a host. */
  program(host: LabHost, name: string, [file = '', ...argv]: readonly string[]): LabProcess {
    return this.lab.spawn(host, { name, argv: [process.execPath, join(project, file), ...argv] });
  }

  get #configDirectory(): string {
    return join(this.lab.directory, 'config');
  }

  get #pinDirectory(): string {
    return `/sys/fs/bpf/weft-${this.#plan.name}`;
  }

  async #start(): Promise<void> {
    mkdirSync(this.#configDirectory, { recursive: true });
    mkdirSync(this.stateDirectory, { recursive: true, mode: 0o700 });
    this.apply(
      'nodes',
      ...this.nodes.map(({ name }) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } })),
    );
    this.apply('outside', namespaceObject('outside', false));
    this.enrol(true);
    for (const name of this.#plan.enrolled ?? [])
      this.apply(`namespace-${name}`, namespaceObject(name, true));
    // Before its pods: what is known as a waypoint's is not captured.
    for (const { app, waypoint } of this.#plan.pods)
      if (waypoint === true) this.apply(`gateway-${app}`, gatewayObject(app));
    for (const plan of this.#plan.pods) this.#addPod(plan);
    const applications = [...this.#pods.values()].filter(({ waypoint }) => waypoint !== true);
    await Promise.all(applications.map((pod) => this.#startApp(pod)));
    await this.startController();
    await Promise.all(this.nodes.map((node) => this.startTunnel(node)));
    await this.untilCaptured();
  }

  #addPod(plan: MeshPodPlan): void {
    const node = this.nodes.find(({ name }) => name === plan.node);
    if (node === undefined) throw new Error(`Pod ${plan.name} names no node of the lab`);
    const { name, namespace = 'shop' } = plan;
    const host = this.lab.addPod(node, {
      name,
      podNamespace: namespace,
      ...(plan.waypoint === true && { reachesControl: true }),
    });
    const { v4, v6 } = host.address;
    const pod: MeshPod = { ...plan, host, v4, v6, agent: this.lab.agent(host) };
    this.#pods.set(name, pod);
    this.apply(`pod-${name}`, podObject(pod));
  }

  async #startApp({ host, name, program = 'e2e/apps/api.ts' }: MeshPod): Promise<void> {
    const app = this.program(host, `app-${name}`, [program, '--pod', name]);
    await app.waitForLine(/listening/);
  }

  /** Made once for each name: a restarted program has the token it had. */
  #token(name: string, whose: readonly string[]): string {
    const file = `${name}.token`;
    const path = join(this.lab.directory, file);
    if (!readdirSync(this.lab.directory).includes(file)) {
      const create = ['token', 'create', ...whose, '--state', this.stateDirectory];
      writeFileSync(path, command([process.execPath, join(project, 'cli/main.ts'), ...create]), {
        mode: 0o600,
      });
    }
    return path;
  }
}

export function podObject(pod: MeshPod): object {
  const { name, namespace = 'shop', app, node, netns, host, v4, v6 } = pod;
  const ofGateway = pod.waypoint === true ? { 'gateway.networking.k8s.io/gateway-name': app } : {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { app, ...pod.labels, ...ofGateway },
      annotations: { 'weft.dev/netns': netns ?? host.namespace },
    },
    spec: {
      nodeName: node,
      serviceAccountName: app,
      containers: [{ name: app, ports: [{ name: 'http', containerPort: apiPort }] }],
    },
    status: { podIPs: [{ ip: v4 }, { ip: v6 }] },
  };
}

export function namespaceObject(name: string, enrolled: boolean, labels: object = {}): object {
  const metadata = { name, labels: { ...(enrolled ? { 'weft.dev/mode': 'ambient' } : {}), ...labels } };
  return { apiVersion: 'v1', kind: 'Namespace', metadata };
}

/** A waypoint in namespace `shop`, for its own namespace. */
export function gatewayObject(name: string, labels: object = {}): object {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name, namespace: 'shop', labels },
    spec: {
      gatewayClassName: 'weft-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
}

/** A Service in front of the pods with label `app`. */
export function serviceObject(name: string, address: string, labels: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop', labels },
    spec: {
      clusterIP: address,
      clusterIPs: [address],
      selector: { app: name },
      ports: [
        { name: 'http', port: apiPort, targetPort: apiPort, appProtocol: 'http' },
        { name: 'echo', port: echoPort, targetPort: echoPort, appProtocol: 'tcp' },
      ],
    },
  };
}

export function policyObject(name: string, spec: object): object {
  return {
    apiVersion: 'weft.dev/v1alpha1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  };
}

export function peerAuthenticationObject(mode: 'STRICT' | 'PERMISSIVE'): object {
  return {
    apiVersion: 'weft.dev/v1alpha1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default', namespace: 'shop' },
    spec: { mtls: { mode } },
  };
}
