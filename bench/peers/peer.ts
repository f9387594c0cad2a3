// What the benchmark compares: a peer starts its proxies in the site's namespaces and says where the client dials.

import { command } from '../../e2e/lab/command.ts';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { type Place, type ServerPort, type Site, serverPorts } from '../site.ts';

export const peerNames = ['none', 'nginx', 'haproxy', 'weft', 'weft-2', 'none-near', 'weft-near'] as const;
export type PeerName = (typeof peerNames)[number];

export interface Peer {
  readonly name: PeerName;
  /** For tables. */
  readonly title: string;
  readonly place: Place;
  /** Descriptors that one connection takes in one proxy: bounds how many idle ones this machine can hold. */
  readonly descriptorsPerConnection: number;
  /** How long after its start it counts as idle, ms: a ztunnel gives back what only its start needed. 0 without a proxy. */
  readonly settleMs: number;
  /** Starts the proxies; they may not yet be ready. */
  start(site: Site): Promise<RunningPeer>;
}

export interface RunningPeer {
  /** What the client pod dials to reach each port of the server pod. */
  readonly targets: Readonly<Record<ServerPort, Target>>;
  /** The client side's, then the server side's; empty without a mesh. */
  readonly proxies: readonly LabProcess[];
  /** Throws BenchError `peer` when traffic that passed was not what it should have been, such as plaintext. */
  check(): Promise<void>;
  stop(): Promise<void>;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The same ports at the server pod's own address: for peers that redirect rather than listen. */
export function directTargets(site: Site): RunningPeer['targets'] {
  const at = (name: ServerPort): Target => ({ host: site.server.address.v4, port: serverPorts[name] });
  return { echo: at('echo'), fork: at('fork'), sink: at('sink') };
}

/** Lifts the usual limit of 1,024 descriptors as far as this machine allows, then becomes the program. */
export const withManyDescriptors = [
  'sh',
  '-c',
  'ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@"',
  'sh',
];

/** How many descriptors such a program has. */
export function descriptorLimit(): number {
  return Number(command([...withManyDescriptors, 'sh', '-c', 'ulimit -n']));
}

/** Ends the last started first. */
export async function stopAll(processes: readonly LabProcess[]): Promise<void> {
  for (const process_ of processes.toReversed()) await process_.stop('SIGTERM', 3000);
}
