// Everything the demo runs: the lab with its pods and applications, one controller, one ztunnel a node. The controller
// and the ztunnels are started exactly as a user would start them; what the steps know of them is their command line,
// their logs, their admin page and what packets show.

import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { nodeFlags, type ProgramName } from '../../cli/program-files.ts';
import type { Agent } from '../lab/agent.ts';
import { command } from '../lab/command.ts';
import { Lab, type LabHost } from '../lab/lab.ts';
import type { LabProcess } from '../lab/lab-process.ts';
import { DemoError } from './demo-error.ts';
import { eventually } from './eventually.ts';
import { type DemoPod, readInventory } from './manifest-pods.ts';

const project = join(import.meta.dirname, '../..');
const manifests = join(import.meta.dirname, 'manifests');
const controllerPort = 15012;
/** Short enough to see a rotation; everything else about certificates is as in production. */
export const certificateLifetimeSeconds = 20;

export interface PodHandle extends DemoPod {
  readonly host: LabHost;
  /** An application's view from inside the pod. */
  readonly agent: Agent;
  readonly app: string;
}

interface Tunnel {
  readonly process: LabProcess;
  readonly agent: Agent;
}

export class DemoWorld {
  readonly lab: Lab;
  readonly #pods = new Map<string, PodHandle>();
  readonly #apps = new Map<string, LabProcess>();
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #configDirectory: string;
  readonly #stateDirectory: string;
  #controller: LabProcess | undefined;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.#configDirectory = join(lab.directory, 'config');
    this.#stateDirectory = join(lab.directory, 'state');
  }

  /** Builds and starts everything, with no pod in the mesh yet. On failure everything is removed again. */
  static async start(name: string): Promise<DemoWorld> {
    const world = new DemoWorld(Lab.open(name));
    try {
      await world.#build();
      return world;
    } catch (error) {
      await world.lab.close({ keepFiles: true });
      throw error;
    }
  }

  get configDirectory(): string {
    return this.#configDirectory;
  }

  pod(name: string): PodHandle {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new DemoError('start', `The demo has no pod "${name}"`);
    return pod;
  }

  /** The pods of namespace `demo` with this label `app`. */
  podsOf(app: string): PodHandle[] {
    return [...this.#pods.values()].filter((pod) => pod.app === app);
  }

  get nodes(): readonly string[] {
    return [...this.#tunnels.keys()];
  }

  /** The pod's application, which must have been started. */
  app(pod: string): LabProcess {
    const app = this.#apps.get(pod);
    if (app === undefined) throw new DemoError('start', `No application runs in pod "${pod}"`);
    return app;
  }

  tunnel(node: string): LabProcess {
    return this.#tunnel(node).process;
  }

  /** Puts a manifest of manifests/steps into the controller's directory, in one go as an editor would. */
  apply(file: string): void {
    const target = join(this.#configDirectory, file);
    copyFileSync(join(manifests, 'steps', file), `${target}.new`);
    renameSync(`${target}.new`, target);
  }

  /** The same with a manifest that is made or changed here. */
  write(file: string, text: string): void {
    const target = join(this.#configDirectory, file);
    writeFileSync(`${target}.new`, text);
    renameSync(`${target}.new`, target);
  }

  /** Edits a manifest in the controller's directory; the text to replace must be there. */
  edit(file: string, from: string, to: string): void {
    const text = readFileSync(join(this.#configDirectory, file), 'utf8');
    if (!text.includes(from)) throw new DemoError('start', `Manifest ${file} has no "${from}"`);
    this.write(file, text.replace(from, to));
  }

  remove(file: string): void {
    rmSync(join(this.#configDirectory, file), { force: true });
  }

  /** Fetches from a ztunnel's own pages: 15000 admin, 15020 metrics, 15021 readiness. */
  async ask(node: string, port: number, path: string): Promise<string> {
    const answer = await this.#tunnel(node).agent.call('http', {
      host: '127.0.0.1',
      port,
      path,
      timeoutMs: 5000,
    });
    if (answer.status !== 200)
      throw new DemoError('claim', `ztunnel of ${node} answered ${path} with ${answer.status}`);
    return answer.body;
  }

  async startApp(name: string): Promise<void> {
    const pod = this.pod(name);
    if (pod.app === 'waypoint') return await this.#startWaypoint(pod);
    const program = pod.app === 'web' ? 'web.ts' : 'api.ts';
    const argv = [process.execPath, join(project, 'e2e/apps', program), '--pod', name];
    const app = this.lab.spawn(pod.host, { name: `app-${name}`, argv });
    await app.waitForLine(/listening/);
    this.#apps.set(name, app);
  }

  /** Started as a user would: a token of the Gateway, not of a node. */
  async #startWaypoint({ name, namespace, host }: PodHandle): Promise<void> {
    const gateway = `${namespace}/waypoint`;
    const tokenFile = this.#token(name, ['--waypoint', gateway]);
    const argv = ['--gateway', gateway, ...this.#controllerFlags(tokenFile), '--state-dir', 'none'];
    const waypoint = this.#program(host, `app-${name}`, 'waypoint', argv);
    this.#apps.set(name, waypoint);
    const from = waypoint.log.mark();
    await waypoint.waitForLine(/serving/, { from, timeoutMs: 20_000 });
  }

  /** Starts the controller, again with the same state after it was killed. */
  async startController(): Promise<void> {
    const { v4 } = this.lab.control.address;
    const argv = ['--config', this.#configDirectory, '--state', this.#stateDirectory];
    argv.push('--address', `${v4}:${controllerPort}`, '--certificate-life', `${certificateLifetimeSeconds}`);
    const controller = this.#program(this.lab.control, 'controller', 'controller', argv);
    const from = controller.log.mark();
    await controller.waitForLine(/controller is ready/, { from, timeoutMs: 20_000 });
    this.#controller = controller;
  }

  async killController(): Promise<void> {
    await this.#controller?.stop('SIGKILL');
    this.#controller = undefined;
  }

  async #build(): Promise<void> {
    const inventory = readInventory(join(manifests, 'base'));
    const hosts = new Map(inventory.nodes.map((name) => [name, this.lab.addNode(name)]));
    for (const pod of inventory.pods) this.#addPod(pod, hosts.get(pod.node));
    this.#writeConfiguration();
    const apps = [...this.#pods.values()].filter(({ app }) => app !== 'waypoint');
    await Promise.all(apps.map(({ name }) => this.startApp(name)));
    await this.startController();
    await Promise.all([...hosts.values()].map((node) => this.#startTunnel(node)));
  }

  #addPod(pod: DemoPod, node: LabHost | undefined): void {
    if (node === undefined)
      throw new DemoError('start', `Pod "${pod.name}" names a node that no manifest has`);
    const { name, namespace: podNamespace, address } = pod;
    // A waypoint is told by the controller itself; other pods know of none.
    const host = this.lab.addPod(node, {
      name,
      podNamespace,
      address,
      reachesControl: pod.app === 'waypoint',
    });
    this.#pods.set(pod.name, { ...pod, host, agent: this.lab.agent(host) });
  }

  #writeConfiguration(): void {
    mkdirSync(this.#configDirectory, { recursive: true });
    mkdirSync(this.#stateDirectory, { recursive: true, mode: 0o700 });
    const base = join(manifests, 'base');
    for (const file of readdirSync(base)) copyFileSync(join(base, file), join(this.#configDirectory, file));
  }

  async #startTunnel(node: LabHost): Promise<void> {
    const tokenFile = this.#token(node.name, ['--node', node.name]);
    const pins = '/sys/fs/bpf/weft-demo';
    this.lab.own(pins);
    const argv = ['--node', node.name, ...this.#controllerFlags(tokenFile)];
    argv.push(
      '--pin-dir',
      join(pins, node.name),
      '--state-dir',
      join(this.lab.directory, 'ztunnel', node.name),
    );
    const tunnel = this.#program(node, `ztunnel-${node.name}`, 'ztunnel', argv);
    this.#tunnels.set(node.name, { process: tunnel, agent: this.lab.agent(node) });
    await this.#untilReady(node.name, tunnel);
  }

  /** Makes a join token; returns the file that holds it. */
  #token(name: string, bearer: readonly string[]): string {
    const flags = [...bearer, '--state', this.#stateDirectory];
    const token = command([process.execPath, join(project, 'cli/main.ts'), 'token', 'create', ...flags]);
    const file = join(this.lab.directory, `${name}.token`);
    writeFileSync(file, token, { mode: 0o600 });
    return file;
  }

  #controllerFlags(tokenFile: string): string[] {
    const address = `${this.lab.control.address.v4}:${controllerPort}`;
    const roots = join(this.#stateDirectory, 'root-cert.pem');
    return ['--controller', address, '--token-file', tokenFile, '--root-cert', roots];
  }

  async #untilReady(node: string, tunnel: LabProcess): Promise<void> {
    const ready = eventually(
      `ready: the ztunnel of ${node}`,
      () => this.ask(node, 15021, '/healthz/ready'),
      20_000,
    );
    await Promise.race([ready, rejectAtEnd(tunnel)]);
  }

  #tunnel(node: string): Tunnel {
    const tunnel = this.#tunnels.get(node);
    if (tunnel === undefined) throw new DemoError('start', `No ztunnel runs on node "${node}"`);
    return tunnel;
  }

  #program(host: LabHost, name: string, program: ProgramName, argv: readonly string[]): LabProcess {
    const file = join(project, program, 'main.ts');
    return this.lab.spawn(host, { name, argv: [process.execPath, ...nodeFlags[program], file, ...argv] });
  }
}

function rejectAtEnd(program: LabProcess): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(program.ended.reason as Error);
    if (program.ended.aborted) fail();
    program.ended.addEventListener('abort', fail);
  });
}
