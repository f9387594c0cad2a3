// Where everything is measured: two nodes and a control host on one link, a client pod on the first node, a server pod
// on the second and one beside the client, the same network namespaces for every peer. Owns the lab and the server; peers add their proxies.

import { join } from 'node:path';
import { writeSettings } from '../e2e/lab/command.ts';
import type { Lab, LabHost } from '../e2e/lab/lab.ts';
import type { LabProcess } from '../e2e/lab/lab-process.ts';
import { BenchError } from './bench-error.ts';
import { buildLoadTools, type LoadTool } from './load-tools.ts';

/** What the server pod serves: see load/server.c. */
export const serverPorts = { echo: 9000, fork: 9001, sink: 9002 } as const;
export type ServerPort = keyof typeof serverPorts;

/** Many short connections between the same two addresses: no port may be waiting for its old connection's end. */
const settings = { 'net/ipv4/ip_local_port_range': '16384 65535', 'net/ipv4/tcp_tw_reuse': '1' };

/** `near`: the server is on the client's node. */
export type Place = 'far' | 'near';

export interface Site {
  readonly lab: Lab;
  readonly clientNode: LabHost;
  readonly serverNode: LabHost;
  readonly client: LabHost;
  readonly server: LabHost;
  /** Where the sink counts the bytes it received, shared memory. */
  readonly counterFile: string;
  /** Starts a load tool in the client pod. */
  start(tool: LoadTool, args: readonly string[]): LabProcess;
  /** Runs a load tool in the client pod to its end and returns its last line. Throws BenchError `load`. */
  run<T>(tool: LoadTool, args: readonly string[]): Promise<T>;
}

/** Builds the network and starts the servers. The caller closes `lab`, also when this throws. */
export async function buildSite(lab: Lab): Promise<Readonly<Record<Place, Site>>> {
  const toolPath = buildLoadTools();
  const clientNode = lab.addNode('node-1');
  const serverNode = lab.addNode('node-2');
  const client = lab.addPod(clientNode, { name: 'client', podNamespace: 'bench' });
  const server = lab.addPod(serverNode, { name: 'server', podNamespace: 'bench' });
  const near = lab.addPod(clientNode, { name: 'near', podNamespace: 'bench' });
  for (const host of [clientNode, serverNode, client, server, near]) writeSettings(host.namespace, settings);
  let sequence = 0;
  const start = (tool: LoadTool, args: readonly string[]): LabProcess => {
    sequence += 1;
    return lab.spawn(client, { name: `load-${sequence}-${tool}`, argv: [toolPath(tool), ...args] });
  };
  const run = async <T>(tool: LoadTool, args: readonly string[]): Promise<T> =>
    lastLine<T>(start(tool, args));
  const ports = Object.entries(serverPorts).flatMap(([name, port]) => [`--${name}`, `${port}`]);
  const withServer = async (at: LabHost, node: LabHost): Promise<Site> => {
    const counterFile = join(lab.directory, `received-${at.name}`);
    const argv = [toolPath('server'), '--host', at.address.v4, ...ports, '--counter', counterFile];
    await lab.spawn(at, { name: at.name, argv }).waitForLine(/listening/);
    return { lab, clientNode, serverNode: node, client, server: at, counterFile, start, run };
  };
  return { far: await withServer(server, serverNode), near: await withServer(near, clientNode) };
}

/** Awaits the end of a load tool; its last JSON line. Throws BenchError `load` when it printed none or failed. */
export async function lastLine<T>(tool: LabProcess): Promise<T> {
  if (!tool.ended.aborted) {
    await new Promise((resolve) => tool.ended.addEventListener('abort', resolve, { once: true }));
  }
  const line = tool.log.lines().findLast((text) => text.startsWith('{'));
  if (tool.child.exitCode === 0 && line !== undefined) return JSON.parse(line) as T;
  const reason = (tool.ended.reason as Error).message;
  throw new BenchError('load', `Load tool "${tool.name}" measured nothing: ${reason}`);
}
