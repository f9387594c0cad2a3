// Network namespaces for kernel tests: pods on one bridge with IPv4 and IPv6, all inside namespaces of this process
// (the bridge has one of its own), and the endpoint program (endpoint.c) run in them. Nothing touches the machine's
// own interfaces. Names carry the process id; what a crashed run left behind is removed first.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IpAddress, parseIpAddress } from '../../mesh/model/ip-address.ts';

export interface TestPod {
  readonly name: string;
  readonly netnsPath: string;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  /** Directory in the cgroup2 tree that its processes enter; default: where the test is. */
  readonly cgroup?: string;
}

/** What endpoint.c prints about one connection. */
export interface Dialled {
  readonly step?: string;
  readonly error?: string;
  readonly self?: string;
  readonly peer?: string;
  readonly source?: string;
  readonly reply?: string;
  readonly stood?: string;
}

const prefix = 'wb-';

export class TestNetwork {
  #directory = mkdtempSync(join(tmpdir(), 'weft-bpf-'));
  #children = new Set<ChildProcess>();
  #bridge = `${prefix}${process.pid}-bridge`;
  #pods: TestPod[] = [];

  constructor() {
    removeLeftovers();
    execFileSync('gcc', ['-O1', '-o', this.#endpoint, new URL('./endpoint.c', import.meta.url).pathname]);
    ip(['netns', 'add', this.#bridge]);
    ip(['-n', this.#bridge, 'link', 'add', 'br0', 'type', 'bridge']);
    ip(['-n', this.#bridge, 'link', 'set', 'br0', 'up']);
  }

  /** A temporary directory, removed with the network. */
  get directory(): string {
    return this.#directory;
  }

  get #endpoint(): string {
    return join(this.#directory, 'endpoint');
  }

  addPod(label: string): TestPod {
    const number = this.#pods.length + 1;
    const name = `${prefix}${process.pid}-${label}`;
    const pod = {
      name,
      netnsPath: `/run/netns/${name}`,
      ipv4: address(`10.77.0.${number}`),
      ipv6: address(`fd77::${number}`),
    };
    ip(['netns', 'add', name]);
    ip([
      'link',
      'add',
      'eth0',
      'netns',
      name,
      'type',
      'veth',
      'peer',
      'name',
      `p${number}`,
      'netns',
      this.#bridge,
    ]);
    ip(['-n', this.#bridge, 'link', 'set', `p${number}`, 'master', 'br0', 'up']);
    ip(['-n', name, 'address', 'add', `${pod.ipv4}/24`, 'dev', 'eth0']);
    ip(['-n', name, 'address', 'add', `${pod.ipv6}/64`, 'dev', 'eth0', 'nodad']);
    ip(['-n', name, 'link', 'set', 'lo', 'up']);
    ip(['-n', name, 'link', 'set', 'eth0', 'up']);
    ip(['-n', name, 'route', 'add', 'default', 'via', '10.77.0.254']);
    ip(['-n', name, 'route', 'add', 'default', 'via', 'fd77::fe']);
    this.#pods.push(pod);
    return pod;
  }

  /** Runs one connection in the pod; `mode` is one of endpoint.c's. */
  async dial(
    pod: TestPod,
    mode: string,
    to: readonly [address: string, port: number],
    source?: string,
  ): Promise<Dialled> {
    return await this.#ask(pod, ['dial', mode, ...to, ...(source === undefined ? [] : [source])]);
  }

  /** Makes `count` connections one after the other; gives back how many stood. */
  async burst(pod: TestPod, to: readonly [address: string, port: number], count: number): Promise<number> {
    return Number((await this.#ask(pod, ['burst', ...to, count])).stood);
  }

  /** Sends a SYN by a raw socket, IPv4; gives back what the answer is: `syn-ack`, `rst`. */
  async rawSyn(
    pod: TestPod,
    from: readonly [address: string, port: number],
    to: readonly [address: string, port: number],
  ): Promise<Dialled> {
    return await this.#ask(pod, ['raw', ...from, ...to]);
  }

  /** Starts a server in the pod; resolves once it listens. Stopped with the network. */
  async serve(
    pod: TestPod,
    kind: 'serve' | 'echo' | 'dns-server',
    at: readonly [address: string, port: number],
  ): Promise<void> {
    const child = this.#spawn(pod, [kind, at[0], String(at[1])]);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`The server ended with ${code}`)));
    });
  }

  /** A connection that stays open; `source` binds it first. */
  async hold(
    pod: TestPod,
    to: readonly [address: string, port: number],
    source?: readonly [address: string, port: number],
  ): Promise<HeldConnection> {
    const child = this.#spawn(pod, ['hold', ...to.map(String), ...(source ?? []).map(String)]);
    const held = new HeldConnection(child);
    await held.next();
    return held;
  }

  sysctl(pod: TestPod, setting: string): void {
    ip(['netns', 'exec', pod.name, 'sysctl', '-qw', setting]);
  }

  dispose(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const { name } of this.#pods) ip(['netns', 'del', name]);
    ip(['netns', 'del', this.#bridge]);
    rmSync(this.#directory, { recursive: true });
  }

  async #ask(pod: TestPod, args: readonly (string | number)[]): Promise<Dialled> {
    return JSON.parse(await text(this.#spawn(pod, args.map(String)))) as Dialled;
  }

  #spawn(pod: TestPod, args: readonly string[]): ChildProcess {
    const inNetns = ['ip', 'netns', 'exec', pod.name, this.#endpoint, ...args];
    const enter = 'if [ -n "$0" ]; then echo $$ >"$0/cgroup.procs"; fi && exec "$@"';
    const child = spawn('sh', ['-c', enter, pod.cgroup ?? '', ...inNetns], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }
}

/** What `endpoint hold` prints, line by line. */
export class HeldConnection {
  #child: ChildProcess;
  #lines: Record<string, string>[] = [];
  #waiting: ((line: Record<string, string>) => void) | undefined;
  first: Record<string, string> | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    let rest = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#receive(JSON.parse(line) as Record<string, string>);
    });
  }

  /** The next line. */
  next(): Promise<Record<string, string>> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Sends it and gives back what comes. */
  async say(text: string): Promise<Record<string, string>> {
    this.#child.stdin?.write(`${text}\n`);
    return this.next();
  }

  /** Ends the connection in order. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin?.end();
    await exit;
  }

  #receive(line: Record<string, string>): void {
    this.first ??= line;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#lines.push(line);
    else waiting(line);
  }
}

function address(text: string): IpAddress {
  return parseIpAddress(text) as IpAddress;
}

function ip(args: readonly string[]): void {
  execFileSync('ip', args);
}

async function text(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await new Promise((resolve) => child.once('close', resolve));
  return output;
}

function removeLeftovers(): void {
  const directory = '/run/netns';
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) ip(['netns', 'del', name]);
  }
}
