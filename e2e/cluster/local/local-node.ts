// One node of a local cluster: a network namespace with a cable, control groups, and a process 1 (node-init.sh) in
// namespaces of its own. Killing that process ends everything of the node. It is known by files of the node's directory,
// so a test program finds a node that another process started.

import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { type Finished, run } from '../../kubernetes/command.ts';
import type { ExecOptions, NodeService } from '../cluster.ts';
import { ClusterError } from '../cluster-error.ts';
import { makeCgroups } from './cgroups.ts';
import { cableCommands, nodeCommands, type NodePlan } from './network-plan.ts';

const init = fileURLToPath(new URL('node-init.sh', import.meta.url));

export interface LocalNodeOptions {
  readonly plan: NodePlan;
  /** Name of the run, of which the control groups carry the name. */
  readonly runName: string;
  /** The cluster's directory. */
  readonly state: string;
  /** Folder with the kubelet and kube-proxy. */
  readonly programs: string;
}

export class LocalNode {
  readonly plan: NodePlan;
  readonly directory: string;
  readonly #options: LocalNodeOptions;

  constructor(options: LocalNodeOptions) {
    this.#options = options;
    this.plan = options.plan;
    this.directory = join(options.state, `node-${options.plan.name}`);
  }

  get name(): string {
    return this.plan.name;
  }

  /** Writes the configuration files, by name relative to the node's directory. */
  prepare(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.directory, name)), { recursive: true });
      writeFileSync(join(this.directory, name), text, { mode: 0o600 });
    }
    mkdirSync(join(this.directory, 'log'), { recursive: true });
  }

  /** Of those that were written by prepare(); a service reads it when it starts again. */
  changeFile(name: string, change: (text: string) => string): void {
    const file = join(this.directory, name);
    writeFileSync(file, change(readFileSync(file, 'utf8')), { mode: 0o600 });
  }

  /** Lays the cable and starts process 1, which goes on by itself. `all`: every node of the cluster. */
  async start(all: readonly NodePlan[]): Promise<void> {
    const { plan } = this;
    await ip(['netns', 'add', plan.netns]);
    await ipBatch(cableCommands(plan));
    await ipBatch(nodeCommands(plan, all), plan.netns);
    const groups = makeCgroups(this.#options.runName, plan.name);
    // A process enters the groups before its cgroup namespace is made: the root of that is where it is then.
    const enter = `for file in ${groups.join(' ')}; do echo $$ >"$file"; done; exec "$@"`;
    const namespaces = ['--mount', '--propagation', 'private', '--uts', '--ipc', '--pid', '--cgroup'];
    const argv = [
      ...['-c', enter, 'node', 'nsenter', `--net=/run/netns/${plan.netns}`],
      ...['unshare', ...namespaces, '--fork', '--kill-child', '--mount-proc'],
      ...[init, plan.name, this.#options.state, this.directory, this.#options.programs, plan.address],
    ];
    const log = openSync(join(this.directory, 'log/init.log'), 'a', 0o600);
    const child = spawn('sh', argv, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    if (child.pid === undefined) throw new ClusterError('command', `Could not start node ${plan.name}`);
    child.unref();
    writeFileSync(join(this.directory, 'pid'), `${child.pid}`);
  }

  /** Ends every process of the node at once, and pulls its cable. */
  async kill(): Promise<void> {
    const pid = this.#outerPid();
    if (pid === undefined) return;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    rmSync(join(this.directory, 'pid'));
    await ip(['netns', 'delete', this.plan.netns]);
  }

  /** Runs a program in all namespaces of the node. */
  async exec(argv: readonly string[], { input }: ExecOptions = {}): Promise<Finished> {
    const target = `${this.#initPid()}`;
    const enter = ['nsenter', '--target', target, '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
    return await run([...enter, '--', ...argv], input === undefined ? {} : { stdin: input });
  }

  /** process 1 starts it again. */
  async killService(service: NodeService): Promise<void> {
    const pid = readFileSync(join(this.directory, 'pids', service), 'utf8').trim();
    const { status, stderr } = await this.exec(['kill', '-KILL', pid]);
    const endedByItself = stderr.includes('No such process');
    if (status !== 0 && !endedByItself)
      throw new ClusterError('command', `Could not kill ${service}: ${stderr.trim()}`);
    const file = join(this.directory, 'pids', service);
    const deadline = performance.now() + 30_000;
    while (readFileSync(file, 'utf8').trim() === pid) {
      if (performance.now() > deadline) throw new ClusterError('timeout', `${service} did not start again`);
      await delay(50);
    }
  }

  /** The end of the log of its process 1, for an error. */
  logTail(): string {
    const file = join(this.directory, 'log/init.log');
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-5).join('\n') : '';
  }

  #outerPid(): number | undefined {
    const file = join(this.directory, 'pid');
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
  }

  /** The only child of the process that made the namespaces. */
  #initPid(): number {
    const outer = this.#outerPid();
    if (outer === undefined) throw new ClusterError('no-such-node', `Node ${this.name} does not run`);
    const children = readFileSync(`/proc/${outer}/task/${outer}/children`, 'utf8').trim().split(' ');
    return Number(children[0]);
  }
}

export async function ip(args: readonly string[]): Promise<void> {
  const { status, stderr } = await run(['ip', ...args]);
  if (status !== 0) throw new ClusterError('command', `ip ${args.join(' ')} failed: ${stderr.trim()}`);
}

/** Several commands in one process; in the namespace of that name, else in this one. */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ['-n', netns];
  const { status, stderr } = await run(['ip', ...where, '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
  if (status !== 0) throw new ClusterError('command', `Could not set up the network: ${stderr.trim()}`);
}
