// A stand-in for the node tunnel in kernel tests: the listeners of one pod, made in its namespace. Outbound it tells
// the client which destination it found; inbound it passes on to the application with the client's address.

import net from 'node:net';
import { bindSource, createTcpSocket, listenTcp, startConnect } from '../../mesh/io/socket.ts';
import { familyOf } from '../../mesh/io/socket-address.ts';
import { withNetns } from '../../mesh/io/netns.ts';
import { type IpAddress, parseIpAddress } from '../../mesh/model/ip-address.ts';
import { FlowMaps } from '../flow-maps.ts';
import type { PodCapture } from '../pod-capture.ts';
import type { Redirect } from '../redirect.ts';
import type { TestPod } from './test-network.ts';

export const outboundPort = 15001;
export const dnsPort = 15053;
const anyAddress = ['0.0.0.0', '::'] as readonly string[] as readonly IpAddress[];

export class TestProxy {
  readonly pod: TestPod;
  readonly capture: PodCapture;
  #flows: FlowMaps;
  #servers: net.Server[] = [];
  #sockets = new Set<net.Socket>();
  #accepted = 0;

  /** @param options.plaintext `told`: such a connection is not passed on but told what it is. */
  constructor(
    redirect: Redirect,
    pod: TestPod,
    options?: { readonly addresses?: readonly IpAddress[]; readonly plaintext?: 'told' },
  ) {
    this.pod = pod;
    this.#flows = new FlowMaps(redirect.fds);
    this.capture = {
      outboundListeners: this.#listen(outboundPort, (socket) => this.#tellDestination(socket)),
      netnsPath: pod.netnsPath,
      addresses: options?.addresses ?? [pod.ipv4, pod.ipv6],
      outboundPort,
      dnsPort,
      hboneListeners: this.#listen(15008, (socket) => socket.end('hbone')),
      plaintextListeners: this.#listen(15006, (socket) =>
        options?.plaintext === 'told' ? socket.end('plaintext') : this.#passOn(socket),
      ),
    };
  }

  /** Connections of every kind, up to now. */
  get accepted(): number {
    return this.#accepted;
  }

  /** A socket in the pod, as the proxy makes them. */
  socket(to: IpAddress): number {
    return withNetns(this.pod.netnsPath, () => createTcpSocket(familyOf(to)));
  }

  /** Resolves when every descriptor is closed. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #listen(port: number, onConnection: (socket: net.Socket) => void): number[] {
    return anyAddress.map((address) => {
      const fd = withNetns(this.pod.netnsPath, () => listenTcp({ address, port }));
      const server = net.createServer((socket) => {
        this.#accepted++;
        this.#track(socket);
        onConnection(socket);
      });
      server.listen({ fd });
      this.#servers.push(server);
      return fd;
    });
  }

  #track(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
  }

  #tellDestination(socket: net.Socket): void {
    const found = this.#flows.originalDestination(descriptor(socket));
    socket.end(found === undefined ? 'no destination' : `captured for ${found.address} ${found.port}`);
  }

  #passOn(client: net.Socket): void {
    const to = parseIpAddress(client.localAddress ?? '') as IpAddress;
    const fd = this.socket(to);
    this.#flows.exemptWithPeer(
      fd,
      parseIpAddress(client.remoteAddress ?? '') as IpAddress,
      client.remotePort ?? 0,
    );
    bindSource(fd, { address: to, port: 0 });
    startConnect(fd, { address: to, port: client.localPort ?? 0 });
    const application = new net.Socket({ fd });
    this.#track(application);
    application.on('close', () => client.destroySoon());
    client.pipe(application).pipe(client);
  }
}

/** The socket's descriptor: Node has no public way to tell it. */
export function descriptor(socket: net.Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}
