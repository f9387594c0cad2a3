// Traffic that does not end while something happens to the mesh: clients on kept connections and clients with a
// connection a request, side by side, and what became of each request. Two kinds of them: a bare one of many small GETs, and
// ordinary libraries with what nobody may send twice on his own account (POST, gRPC).

import { eventually } from '../demo/eventually.ts';
import type { Caller } from './caller.ts';
import type { Call } from './caller-main.ts';
import type { AgentCaller, LoadReport, Target } from '../lab/agent-protocol.ts';

const kinds = ['requests', 'connections'] as const;
/** Clients of a kind: so many requests are under way at any moment. */
const concurrency = 4;

export interface Tally {
  /** Answered by an application. */
  readonly succeeded: number;
  /** No answer, or one that is no application's: a waypoint's own 503, for example. */
  readonly failed: number;
  /** Of those without an answer what began after the mark. */
  readonly failedAfterMark: number;
  readonly errors: Readonly<Record<string, number>>;
  /** How often each pod answered. */
  readonly servers: Readonly<Record<string, number>>;
}

export class SteadyTraffic {
  /** More than that can not be under way at a moment. */
  static readonly underWay = kinds.length * concurrency;
  readonly #agent: AgentCaller;

  private constructor(agent: AgentCaller) {
    this.#agent = agent;
  }

  /** @param target with `perSecond`, how many of each kind begin in a second at most */
  static async start(
    agent: AgentCaller,
    target: Target & { readonly perSecond?: number },
  ): Promise<SteadyTraffic> {
    for (const kind of kinds) await agent.call('startLoad', { id: kind, kind, ...target, concurrency });
    return new SteadyTraffic(agent);
  }

  /** Resolves when so many more of each kind have succeeded. */
  async more(count: number, timeoutMs: number): Promise<void> {
    const before = await this.#succeeded();
    await eventually(
      `${count} more requests of each kind`,
      async () => {
        const now = await this.#succeeded();
        return now.every((n, kind) => n >= (before[kind] ?? 0) + count) ? true : undefined;
      },
      timeoutMs,
    );
  }

  async mark(): Promise<void> {
    for (const kind of kinds) await this.#agent.call('markLoad', kind);
  }

  async stop(): Promise<Tally> {
    const reports = await Promise.all(kinds.map((kind) => this.#agent.call('stopLoad', kind)));
    const servers = together(reports);
    const succeeded = sum(Object.values(servers));
    const ended = sum(reports.flatMap((report) => [report.succeeded, report.failed]));
    return {
      succeeded,
      failed: ended - succeeded,
      failedAfterMark: sum(reports.map(({ afterMark }) => afterMark.failed)),
      errors: Object.assign({}, ...reports.map(({ errors }) => errors)),
      servers,
    };
  }

  async #succeeded(): Promise<readonly number[]> {
    const progress = kinds.map((kind) => this.#agent.call('loadProgress', kind));
    return (await Promise.all(progress)).map(({ succeeded }) => succeeded);
  }
}

const unrepeatable: readonly Call[] = [
  { host: 'echo', port: 80, path: '/post', method: 'POST' },
  { host: 'echo', port: 7070, path: '/proto.EchoTestService/Echo', protocol: 'grpc' },
];

/** Calls of ordinary clients until it is stopped: a batch on kept connections, then one with a connection a request. */
export class LibraryTraffic {
  /** More than that can not be under way at a moment. */
  static readonly underWay = concurrency;
  readonly #caller: Caller;
  readonly #done: Promise<void>;
  readonly #errors: string[] = [];
  #succeeded = 0;
  #stopping = false;

  /** Starts at once. */
  constructor(caller: Caller) {
    this.#caller = caller;
    this.#done = this.#run();
  }

  /** Resolves when what was under way is over. */
  async stop(): Promise<{ readonly succeeded: number; readonly errors: readonly string[] }> {
    this.#stopping = true;
    await this.#done;
    return { succeeded: this.#succeeded, errors: this.#errors };
  }

  async #run(): Promise<void> {
    for (let round = 0; !this.#stopping; round++) {
      const connections = round % 2 === 0 ? 'kept' : 'new';
      const answers = await this.#caller.batch(unrepeatable, { times: 25, concurrency, connections });
      for (const [index, { protocol = 'http' }] of unrepeatable.entries())
        for (const { status, error, body } of answers[index] ?? []) {
          if (error === undefined && status === 200 && body.includes('"pod":"echo-v')) this.#succeeded++;
          else this.#errors.push(`${protocol}, ${connections} connection: ${status} ${error ?? body}`);
        }
    }
  }
}

function together(reports: readonly LoadReport[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { servers } of reports)
    for (const [pod, count] of Object.entries(servers)) all[pod] = (all[pod] ?? 0) + count;
  return all;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
