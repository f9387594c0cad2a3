// kubectl as tests use it: as the user of one kubeconfig, with failures that say what kubectl said. Waiting is left to
// kubectl itself (`wait`, `rollout status`), which watches instead of asking again and again.

import { setTimeout as delay } from 'node:timers/promises';
import { type Finished, run } from '../kubernetes/command.ts';
import { ClusterError } from './cluster-error.ts';

export interface KubectlOptions {
  readonly input?: string;
}

export class Kubectl {
  readonly #program: string;
  readonly #kubeconfig: string;

  constructor(program: string, kubeconfig: string) {
    this.#program = program;
    this.#kubeconfig = kubeconfig;
  }

  /** Runs it to its end, whatever that is. */
  async run(args: readonly string[], { input }: KubectlOptions = {}): Promise<Finished> {
    // Over SPDY exec and attach print nothing of their own; over WebSockets they do now and then.
    const env = {
      ...process.env,
      KUBECONFIG: this.#kubeconfig,
      KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false',
    };
    return await run([this.#program, ...args], { env, ...(input === undefined ? {} : { stdin: input }) });
  }

  /** What it printed. Throws ClusterError `command` if it failed. */
  async ok(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(args, options);
    if (status === 0) return stdout;
    throw new ClusterError('command', `kubectl ${args.join(' ')} failed (${status}): ${stderr.trim()}`);
  }

  /** One object, or a list of them, as `-o json` has it. */
  async json<T>(args: readonly string[]): Promise<T> {
    return JSON.parse(await this.ok([...args, '-o', 'json'])) as T;
  }

  /** `apply --server-side`, as users are told to. */
  async apply(manifest: string): Promise<string> {
    return await this.ok(['apply', '--server-side', '-f', '-'], { input: manifest });
  }

  /** Runs a program in a pod: `namespace/pod`, `namespace/pod/name` or `namespace/deployment/name`. */
  async exec(pod: string, argv: readonly string[], options: KubectlOptions = {}): Promise<Finished> {
    const [namespace = '', ...name] = pod.split('/');
    const stdin = options.input === undefined ? [] : ['-i'];
    return await this.run(['exec', '-n', namespace, ...stdin, name.join('/'), '--', ...argv], options);
  }

  /** Resolves when it exists; `kubectl wait` ends at once for a name that is not there yet. */
  async exists(args: readonly string[], timeoutSeconds = 60): Promise<void> {
    const deadline = performance.now() + timeoutSeconds * 1000;
    for (;;) {
      const { status, stderr } = await this.run(['get', ...args]);
      if (status === 0) return;
      if (performance.now() > deadline) {
        throw new ClusterError(
          'timeout',
          `Waited ${timeoutSeconds} s for ${args.join(' ')}: ${stderr.trim()}`,
        );
      }
      await delay(200);
    }
  }

  /** Resolves when a Deployment or DaemonSet (`deployment/web`) runs as it is meant to. */
  async rolledOut(namespace: string, name: string, timeoutSeconds = 60): Promise<void> {
    await this.ok(['rollout', 'status', '-n', namespace, name, `--timeout=${timeoutSeconds}s`]);
  }
}
