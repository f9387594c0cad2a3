// A real etcd and a real kube-apiserver for one test file, on free loopback ports of the network namespace the whole
// run is in (main.ts). All state is in a folder of its own that close() removes; after a crash the run's namespaces
// take processes, ports and folder along. No nodes, and no controllers unless asked for.

import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { BackgroundProgram } from './background-program.ts';
import { type ClientIdentity, ClusterKeys } from './cluster-keys.ts';
import { type Finished, run } from './command.ts';
import type { Programs } from './programs.ts';
import { RigError } from './rig-error.ts';
import { isolatedPrograms, stateRoot } from './isolation.ts';

export interface ApiServerOptions {
  /** Controllers of kube-controller-manager to run, for example `namespace`; none by default. */
  readonly controllers?: readonly string[];
  /** Further flags of kube-apiserver. */
  readonly flags?: readonly string[];
  /** Writes every request to `auditLog`. */
  readonly audit?: boolean;
}

const startTimeoutMs = 60_000;
const issuer = 'https://kubernetes.default.svc.cluster.local';

export class ApiServer {
  readonly url: string;
  /** Kubeconfig of a user who may do everything. */
  readonly kubeconfig: string;
  readonly directory: string;
  readonly keys: ClusterKeys;
  readonly #programs: Programs;
  readonly #options: ApiServerOptions;
  readonly #ports: { readonly etcd: number; readonly peer: number; readonly secure: number };
  #etcd: BackgroundProgram | undefined;
  #server: BackgroundProgram | undefined;
  #manager: BackgroundProgram | undefined;

  private constructor(parts: {
    directory: string;
    keys: ClusterKeys;
    kubeconfig: string;
    programs: Programs;
    options: ApiServerOptions;
    ports: { etcd: number; peer: number; secure: number };
  }) {
    this.directory = parts.directory;
    this.keys = parts.keys;
    this.kubeconfig = parts.kubeconfig;
    this.#programs = parts.programs;
    this.#options = parts.options;
    this.#ports = parts.ports;
    this.url = serverUrl(parts.ports.secure);
  }

  /** Resolves when the API server says it is ready (seconds). Throws RigError. */
  static async start(options: ApiServerOptions = {}): Promise<ApiServer> {
    const programs = isolatedPrograms();
    const directory = await mkdtemp(join(stateRoot(), 'api-'));
    const keys = await ClusterKeys.create(join(directory, 'pki'));
    const [etcd, peer, secure] = (await freePorts(3)) as [number, number, number];
    const admin = { user: 'admin', groups: ['system:masters'] };
    const kubeconfig = await keys.kubeconfig(admin, serverUrl(secure));
    const parts = { directory, keys, kubeconfig, programs, options, ports: { etcd, peer, secure } };
    const server = new ApiServer(parts);
    try {
      server.startEtcd();
      await server.startServer();
      await server.#startManager();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Of etcd's client API. */
  get etcdUrl(): string {
    return `http://127.0.0.1:${this.#ports.etcd}`;
  }

  get auditLog(): string {
    return join(this.directory, 'audit.log');
  }

  /** The process, to freeze or to kill. */
  get process(): BackgroundProgram {
    if (this.#server === undefined) throw new RigError('NOT_STARTED', 'The API server is not running');
    return this.#server;
  }

  startEtcd(): void {
    const { etcd, peer } = this.#ports;
    const client = `http://127.0.0.1:${etcd}`;
    const peers = `http://127.0.0.1:${peer}`;
    const flags = {
      name: 'test',
      'data-dir': join(this.directory, 'etcd'),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peers,
      'initial-advertise-peer-urls': peers,
      'initial-cluster': `test=${peers}`,
      'log-level': 'warn',
    };
    const argv = [this.#programs.etcd, ...formatFlags(flags), '--unsafe-no-fsync'];
    this.#etcd = new BackgroundProgram('etcd', argv, { logFile: join(this.directory, 'etcd.log') });
  }

  async stopEtcd(): Promise<void> {
    await this.#etcd?.stop({ now: true });
  }

  /** Starts it (again, on the same port with the same state) and waits until it is ready. */
  async startServer(): Promise<void> {
    const { etcd, secure } = this.#ports;
    const audit = this.#options.audit === true ? await this.#auditFlags() : {};
    const flags = {
      'etcd-servers': `http://127.0.0.1:${etcd}`,
      'bind-address': '127.0.0.1',
      'advertise-address': '127.0.0.1',
      'secure-port': `${secure}`,
      'endpoint-reconciler-type': 'none',
      'service-cluster-ip-range': '10.96.0.0/16',
      'authorization-mode': 'Node,RBAC',
      'enable-admission-plugins': 'NodeRestriction',
      'tls-cert-file': this.keys.path('apiserver.crt'),
      'tls-private-key-file': this.keys.path('apiserver.key'),
      'client-ca-file': this.keys.path('ca.crt'),
      'service-account-issuer': issuer,
      'service-account-key-file': this.keys.path('sa.pub'),
      'service-account-signing-key-file': this.keys.path('sa.key'),
      'api-audiences': issuer,
      profiling: 'false',
      ...audit,
    };
    const argv = [this.#programs.apiServer, ...formatFlags(flags), ...(this.#options.flags ?? [])];
    const logFile = join(this.directory, 'kube-apiserver.log');
    this.#server = new BackgroundProgram('kube-apiserver', argv, { logFile });
    const isReady = () => answersOk(`${this.url}/readyz`);
    await this.#server.ready(isReady, startTimeoutMs);
  }

  async stopServer(options: { readonly now?: boolean } = {}): Promise<void> {
    await this.#server?.stop(options);
  }

  /** Runs kubectl as the user of `kubeconfig` (default: the one who may do everything). */
  async kubectl(
    args: readonly string[],
    { stdin, kubeconfig = this.kubeconfig }: { readonly stdin?: string; readonly kubeconfig?: string } = {},
  ): Promise<Finished> {
    const program = this.#programs.kubectl;
    if (program === undefined) throw new RigError('PROGRAMS_MISSING', 'kubectl is missing');
    const env = { PATH: process.env['PATH'], HOME: this.directory, KUBECONFIG: kubeconfig };
    return await run([program, ...args], { env, ...(stdin === undefined ? {} : { stdin }) });
  }

  /** kubectl whose failure is a failure of the test; returns what it printed. */
  async kubectlOk(args: readonly string[], stdin?: string): Promise<string> {
    const result = await this.kubectl(args, stdin === undefined ? {} : { stdin });
    if (result.status === 0) return result.stdout;
    throw new RigError('COMMAND_FAILED', `Command kubectl ${args.join(' ')} failed: ${result.stderr.trim()}`);
  }

  /** `kubectl apply --server-side` of YAML or JSON text. */
  async apply(manifest: string): Promise<void> {
    const args = ['apply', '--server-side', '--force-conflicts', '--validate=false', '-f', '-'];
    await this.kubectlOk(args, manifest);
  }

  /** Kubeconfig of a user known by certificate. */
  async kubeconfigOf(identity: ClientIdentity): Promise<string> {
    return await this.keys.kubeconfig(identity, this.url);
  }

  /** Stops everything and removes the state. Idempotent. */
  async close(): Promise<void> {
    await this.#manager?.stop({ now: true });
    this.#server?.thaw();
    await this.#server?.stop({ now: true });
    await this.stopEtcd();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #startManager(): Promise<void> {
    const { controllers = [] } = this.#options;
    if (controllers.length === 0) return;
    const program = this.#programs.controllerManager;
    if (program === undefined) throw new RigError('PROGRAMS_MISSING', 'kube-controller-manager is missing');
    const flags = {
      kubeconfig: this.kubeconfig,
      controllers: controllers.join(','),
      'secure-port': '0',
      'leader-elect': 'false',
      'kube-api-qps': '500',
      'kube-api-burst': '1000',
      'service-account-private-key-file': this.keys.path('sa.key'),
      'root-ca-file': this.keys.path('ca.crt'),
    };
    const logFile = join(this.directory, 'kube-controller-manager.log');
    this.#manager = new BackgroundProgram('controllers', [program, ...formatFlags(flags)], { logFile });
  }

  async #auditFlags(): Promise<Record<string, string>> {
    const policy = join(this.directory, 'audit-policy.yaml');
    const rules = [{ level: 'Metadata', omitStages: ['RequestReceived', 'ResponseStarted'] }];
    await mkdir(this.directory, { recursive: true });
    await writeFile(policy, JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules }));
    return { 'audit-policy-file': policy, 'audit-log-path': this.auditLog, 'audit-log-mode': 'blocking' };
  }
}

function serverUrl(port: number): string {
  return `https://127.0.0.1:${port}`;
}

function formatFlags(flags: Readonly<Record<string, string>>): string[] {
  return Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
}

/** Ports nobody listens on now; the namespace is ours alone, so nobody takes them in between. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  const ports: number[] = [];
  for (const server of servers) {
    if (!server.listening) await once(server, 'listening');
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) server.close();
  return ports;
}

/** Ready is a state of the server, not a matter of trust: its certificate is not looked at. */
function answersOk(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { rejectUnauthorized: false, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}
