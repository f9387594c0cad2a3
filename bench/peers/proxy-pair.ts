// What the nginx and the HAProxy pair have in common: a client proxy on the first node takes plain TCP from the client
// pod and speaks mutual TLS to a server proxy on the second node, which speaks plain TCP to the server pod.

import type { LabHost } from '../../e2e/lab/lab.ts';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { type ServerPort, type Site, serverPorts } from '../site.ts';
import { type MutualTlsFiles, writeMutualTlsFiles } from './mutual-tls-files.ts';
import { type PeerName, type RunningPeer, stopAll, type Target, withManyDescriptors } from './peer.ts';

/** One forwarded port: where a proxy listens and what it dials. */
export interface Forward {
  readonly name: string;
  readonly listen: string;
  readonly to: string;
}

export interface ProxyPair {
  readonly name: PeerName;
  /** Writes the configuration of one side into `directory` and returns the command. */
  command(side: 'client' | 'server', settings: PairSettings): readonly string[];
}

export interface PairSettings {
  readonly directory: string;
  readonly tls: MutualTlsFiles;
  readonly forwards: readonly Forward[];
}

const ports = ['echo', 'fork', 'sink'] as const satisfies readonly ServerPort[];
/** Added to the server's port: where the client proxy and the server proxy listen. */
const entryOffset = { client: -2000, server: -1000 };

export async function startPair(pair: ProxyPair, site: Site): Promise<RunningPeer> {
  const { directory } = site.lab;
  const tls = await writeMutualTlsFiles(directory);
  // The pod's way to its node is the address at the other end of its own link.
  const gateway = site.client.address.v4.replace(/\d+$/, '1');
  const clientEntry = (name: ServerPort): Target => entry(gateway, 'client', name);
  const serverEntry = (name: ServerPort): Target => entry(site.serverNode.address.v4, 'server', name);
  const end = (name: ServerPort): Target => ({ host: site.server.address.v4, port: serverPorts[name] });
  const spawn = (host: LabHost, side: 'client' | 'server', forwards: readonly Forward[]): LabProcess => {
    const argv = [...withManyDescriptors, ...pair.command(side, { directory, tls, forwards })];
    return site.lab.spawn(host, { name: `${pair.name}-${side}`, argv });
  };
  const forward = (listen: typeof end, to: typeof end): Forward[] =>
    ports.map((name) => ({ name, listen: format(listen(name)), to: format(to(name)) }));
  const server = spawn(site.serverNode, 'server', forward(serverEntry, end));
  const client = spawn(site.clientNode, 'client', forward(clientEntry, serverEntry));
  return {
    targets: { echo: clientEntry('echo'), fork: clientEntry('fork'), sink: clientEntry('sink') },
    proxies: [client, server],
    check: () => Promise.resolve(),
    stop: () => stopAll([server, client]),
  };
}

function entry(host: string, side: 'client' | 'server', name: ServerPort): Target {
  return { host, port: serverPorts[name] + entryOffset[side] };
}

function format({ host, port }: Target): string {
  return `${host}:${port}`;
}
