// A waypoint and its controller, each a process of its own, on loopback and without root: services are ServiceEntries whose
// endpoints are servers of the test, each with a plain listener. What a test sees is answers, the log and the pages.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually } from '../demo/eventually.ts';
import { command } from '../lab/command.ts';
import { LogFile } from '../lab/log-file.ts';

const project = join(import.meta.dirname, '../..');

export interface StandingService {
  readonly name: string;
  /** Where its endpoint listens on loopback; without one it has no endpoint. */
  readonly target?: number;
  /** As a ServiceEntry says it; default HTTP. */
  readonly protocol?: 'HTTP' | 'HTTP2' | 'GRPC' | 'TCP';
}

export interface StandingOptions {
  readonly services: readonly StandingService[];
  /** Beside the services. */
  readonly objects?: readonly object[];
  /** Of the waypoint. */
  readonly flags?: readonly string[];
}

interface Program {
  readonly child: ChildProcess;
  readonly log: LogFile;
  readonly ended: AbortController;
}

export class StandingWaypoint implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'weft-standing-'));
  readonly #programs: Program[] = [];
  readonly #ports = new Map<string, number>();
  #adminPort = 0;

  /** Ready when this resolves. */
  static async start(options: StandingOptions): Promise<StandingWaypoint> {
    const standing = new StandingWaypoint();
    try {
      await standing.#start(options);
      return standing;
    } catch (error) {
      await standing[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where the service is asked for, on loopback. */
  port(service: string): number {
    const port = this.#ports.get(service);
    if (port === undefined) throw new Error(`No service ${service}`);
    return port;
  }

  get #waypoint(): Program {
    const waypoint = this.#programs[1];
    if (waypoint === undefined) throw new Error('The waypoint was not started');
    return waypoint;
  }

  get log(): LogFile {
    return this.#waypoint.log;
  }

  get pid(): number {
    return this.#waypoint.child.pid ?? 0;
  }

  get running(): boolean {
    return !this.#waypoint.ended.signal.aborted;
  }

  /** The line of the request or connection with this text in it, when it has ended. */
  async logged(pattern: RegExp): Promise<string> {
    return await this.log.waitFor(pattern, { signal: this.#waypoint.ended.signal, timeoutMs: 20_000 });
  }

  apply(name: string, ...objects: readonly object[]): void {
    const file = join(this.#directory, 'config', `${name}.yaml`);
    writeFileSync(`${file}.new`, objects.map((object) => stringify(object)).join('---\n'));
    renameSync(`${file}.new`, file);
  }

  async dump<T>(): Promise<T> {
    return (await (await fetch(`http://127.0.0.1:${this.#adminPort}/config_dump`)).json()) as T;
  }

  /** The routes of these names, and no others, are in force in every worker. */
  async inForce(...names: readonly string[]): Promise<void> {
    const wanted = names.toSorted().join();
    await eventually(
      `in force: ${wanted}`,
      async () => {
        const { routings } = await this.dump<Routings>();
        const rules = routings.flatMap(({ ports }) => ports.flatMap(({ routes }) => routes.http));
        const found = new Set(rules.map(({ name }) => name.name));
        return [...found].toSorted().join() === wanted ? true : undefined;
      },
      60_000,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, ended } of this.#programs.toReversed()) {
      if (ended.signal.aborted) continue;
      const gone = new Promise((resolve) => ended.signal.addEventListener('abort', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #start({ services, objects = [], flags = [] }: StandingOptions): Promise<void> {
    const state = join(this.#directory, 'state');
    mkdirSync(join(this.#directory, 'config'));
    mkdirSync(state, { mode: 0o700 });
    this.apply('mesh', ...base, ...services.map(serviceEntry), ...objects);
    const [control = 0, controllerAdmin, admin = 0, metrics, readiness, ...listeners] = await freePorts(
      5 + services.length,
    );
    this.#adminPort = admin;
    const controller = this.#program('controller', [
      ...['--config', join(this.#directory, 'config'), '--state', state],
      ...['--address', `127.0.0.1:${control}`, '--admin', `127.0.0.1:${controllerAdmin}`],
    ]);
    await controller.log.waitFor(/controller is ready/, {
      signal: controller.ended.signal,
      timeoutMs: 30_000,
    });
    const token = command([
      ...[process.execPath, join(project, 'cli/main.ts'), 'token', 'create'],
      ...['--waypoint', 'shop/gate', '--state', state],
    ]);
    writeFileSync(join(this.#directory, 'token'), token, { mode: 0o600 });
    const plain = services.map(({ name }, index) => {
      this.#ports.set(name, listeners[index] ?? 0);
      return `--plain-listener=127.0.0.1:${listeners[index]}=shop/${name}.example:80`;
    });
    const waypoint = this.#program('waypoint', [
      ...['--gateway', 'shop/gate', '--controller', `127.0.0.1:${control}`, '--state-dir', 'none'],
      ...['--token-file', join(this.#directory, 'token'), '--root-cert', join(state, 'root-cert.pem')],
      ...['--hbone-address', '127.0.0.1:0', '--admin-port', `${admin}`, '--metrics-port', `${metrics}`],
      ...['--readiness-port', `${readiness}`, ...plain, ...flags],
    ]);
    const ready = eventually(
      'ready: the waypoint',
      async () => {
        const answer = await fetch(`http://127.0.0.1:${readiness}/healthz/ready`);
        return answer.status === 200 ? true : undefined;
      },
      30_000,
    );
    const { signal } = waypoint.ended;
    const ended = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
    await Promise.race([ready, ended]);
  }

  #program(name: string, argv: readonly string[]): Program {
    const path = join(this.#directory, `${name}.log`);
    const output = openSync(path, 'a');
    const child = spawn(process.execPath, [join(project, name, 'main.ts'), ...argv], {
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    const log = new LogFile(path);
    const ended = new AbortController();
    child.once('exit', (code) =>
      ended.abort(new Error(`The ${name} ended with status ${code}:\n${log.lines().slice(-8).join('\n')}`)),
    );
    const program = { child, log, ended };
    this.#programs.push(program);
    return program;
  }
}

interface Routings {
  readonly routings: readonly {
    readonly ports: readonly {
      readonly routes: { readonly http: readonly { readonly name: { name: string } }[] };
    }[];
  }[];
}

const base: readonly object[] = [
  {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', labels: { 'weft.dev/mode': 'ambient', 'weft.dev/waypoint': 'gate' } },
  },
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'gate', namespace: 'shop' },
    spec: {
      gatewayClassName: 'weft-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  },
];

function serviceEntry({ name, target, protocol = 'HTTP' }: StandingService): object {
  return {
    apiVersion: 'weft.dev/v1alpha1',
    kind: 'ServiceEntry',
    metadata: { name, namespace: 'shop' },
    spec: {
      hosts: [`${name}.example`],
      location: 'MESH_EXTERNAL',
      resolution: 'STATIC',
      ports: [{ number: 80, name: 'port', protocol, targetPort: target ?? 1 }],
      ...(target === undefined
        ? { workloadSelector: { labels: { app: 'nobody' } } }
        : { endpoints: [{ address: '127.0.0.1' }] }),
    },
  };
}

export function standingRoute(name: string, service: string, rules: readonly object[]): object {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name, namespace: 'shop' },
    spec: { parentRefs: [targetOf(service)], rules },
  };
}

/** The service as a policy's target or a route's parent. */
export function targetOf(service: string): object {
  return { group: 'weft.dev', kind: 'ServiceEntry', name: service };
}

/** Ports that nobody listens on now; all different. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) =>
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
        ),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
