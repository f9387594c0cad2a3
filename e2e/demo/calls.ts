// What several steps ask of the pods: one request to the API, many to see how they spread, what certificates are in use.

import type { Target } from '../lab/agent-protocol.ts';
import { claim } from './demo-error.ts';
import type { DemoWorld, PodHandle } from './world.ts';

/** Service `api` of the manifests. */
export const apiAddress = { v4: '10.96.0.20', v6: 'fd96::20' };
export const apiPort = 8080;
export const echoPort = 9000;

export interface ApiAnswer {
  /** Which replica answered. */
  readonly pod: string;
  /** The client's address as the replica saw it. */
  readonly client: string;
}

/** One request on a connection of its own; rejects when it fails in any way. */
export async function callApi(from: PodHandle, target: Omit<Target, 'port'>, path = '/'): Promise<ApiAnswer> {
  const answer = await from.agent.call('http', { ...target, port: apiPort, path, timeoutMs: 5000 });
  claim(answer.status === 200, `${from.name} got status ${answer.status} from ${target.host}`);
  return JSON.parse(answer.body) as ApiAnswer;
}

/** How many of `count` requests, each on its own connection, each replica answered; rejects if one fails. */
export async function spread(
  from: PodHandle,
  target: Omit<Target, 'port'>,
  count: number,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const clients = Array.from({ length: 4 }, async () => {
    for (let i = 0; i < count / 4; i++) {
      const { pod } = await callApi(from, target);
      counts.set(pod, (counts.get(pod) ?? 0) + 1);
    }
  });
  await Promise.all(clients);
  return new Map([...counts].toSorted(([a], [b]) => a.localeCompare(b)));
}

/** For a detail line: `api-1 20, api-2 21`. */
export function describeSpread(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([pod, count]) => `${pod} ${count}`).join(', ');
}

/** Claims that each of the three replicas had a fair share: at least a third of an equal one. */
export function claimBalanced(counts: ReadonlyMap<string, number>, how: string): void {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const fair = counts.size === 3 && [...counts.values()].every((count) => count >= total / 4);
  claim(fair, `By ${how} the replicas answered unevenly: ${describeSpread(counts)}`);
}

/** Whether a request is refused, for `eventually`: the error's code, or undefined while requests still pass. */
export async function refusal(from: PodHandle, target: Omit<Target, 'port'>): Promise<string | undefined> {
  try {
    await callApi(from, target);
    return undefined;
  } catch (error) {
    return (error as { reason?: string }).reason ?? (error as Error).message;
  }
}

interface ConfigDump {
  readonly certificates: readonly {
    readonly identity: string;
    readonly certChain: readonly { readonly serialNumber: string }[];
  }[];
  readonly workloadState?: Readonly<
    Record<string, { readonly state: string; readonly info: { readonly name: string } }>
  >;
}

export async function configDump(world: DemoWorld, node: string): Promise<ConfigDump> {
  return JSON.parse(await world.ask(node, 15000, '/config_dump')) as ConfigDump;
}

/** Serial number of the certificate in use for each identity of a node. */
export async function serials(world: DemoWorld, node: string): Promise<ReadonlyMap<string, string>> {
  const { certificates } = await configDump(world, node);
  return new Map(certificates.map((entry) => [entry.identity, entry.certChain[0]?.serialNumber ?? '']));
}

/** A text that occurs nowhere else, to look for in packets. */
export function marker(): string {
  return `payload-${crypto.randomUUID()}`;
}
