// The DNS server in each captured pod, UDP and TCP, on the pod's own addresses: answers what the mesh knows, forwards
// the rest from inside the pod. Runs on the main thread on Node's sockets. A pod's trouble stays its own: queries under
// way and TCP connections are bounded for each pod, and nothing a client sends can throw.

import dgram from 'node:dgram';
import net from 'node:net';
import * as libc from '../mesh/io/libc.ts';
import { localAddress } from '../mesh/io/socket.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { type IpAddress, isIpv6 } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { Workload, WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { answer } from './dns-answer.ts';
import { type DnsQuery, encodeResponse, errorResponse, parseQuery, rcodes } from './dns-message.ts';
import { type DnsSockets, netnsSockets } from './dns-sockets.ts';
import { DnsFrameReader, frameDns } from './dns-tcp.ts';
import { DnsUpstream, type DnsUpstreamOptions } from './dns-upstream.ts';
import { ports } from './ports.ts';

export interface DnsLabels {
  readonly type: number;
  readonly protocol: 'udp' | 'tcp';
  readonly client: Workload | undefined;
}

export interface DnsMetrics {
  request(labels: DnsLabels): void;
  upstreamRequest(labels: DnsLabels): void;
  upstreamFailure(labels: DnsLabels): void;
  /** Seconds until the reply or the failure. */
  upstreamDuration(labels: DnsLabels, seconds: number): void;
}

export interface DnsProxyOptions {
  readonly snapshot: () => Snapshot;
  readonly clock: Clock;
  /** Marks a socket as the proxy's own, so that capture leaves it alone. */
  readonly exempt: (fd: number) => void;
  readonly metrics: DnsMetrics;
  readonly onError: (pod: NodePod, error: Error) => void;
  /** Default `cluster.local`. */
  readonly clusterDomain?: string;
  /** Default: by uid, else by name, namespace and service account. */
  readonly clientOf?: (pod: NodePod, snapshot: Snapshot) => Workload | undefined;
  /** Default 15053. */
  readonly port?: number;
  readonly upstream?: Pick<DnsUpstreamOptions, 'port' | 'timeoutMs' | 'maxOutstanding'>;
  readonly openSockets?: (pod: NodePod) => DnsSockets;
  readonly random?: () => number;
}

export interface DnsPod {
  readonly pod: NodePod;
  readonly nameservers: readonly IpAddress[];
}

const maxTcpConnections = 64;
/** Queries of one TCP connection answered at the same time; RFC 7766 wants more than one. */
const maxPipelined = 16;
const tcpIdleMs = 10_000;

export class DnsProxy {
  readonly #options: DnsProxyOptions;
  readonly #servers = new Map<WorkloadUid, PodServer>();

  constructor(options: DnsProxyOptions) {
    this.#options = options;
  }

  /**
   * Listens in the pod. Replaces an earlier server of the same uid. Returns where it listens.
   * @throws IoError, NetnsError
   */
  addPod({ pod, nameservers }: DnsPod): readonly SocketAddress[] {
    this.removePod(pod.uid);
    const server = new PodServer(pod, nameservers, this.#options);
    try {
      const addresses = server.listen(this.#options.port ?? ports.dns);
      this.#servers.set(pod.uid, server);
      return addresses;
    } catch (error) {
      server.close();
      throw error;
    }
  }

  /** Descriptors of the sockets that the pod's queries come in by, UDP and TCP. They stay the server's. */
  listenersOf(uid: WorkloadUid): readonly number[] {
    return this.#servers.get(uid)?.listeners ?? [];
  }

  /** Idempotent; queries under way are dropped. */
  removePod(uid: WorkloadUid): void {
    this.#servers.get(uid)?.close();
    this.#servers.delete(uid);
  }

  close(): void {
    for (const uid of [...this.#servers.keys()]) this.removePod(uid);
  }
}

class PodServer {
  readonly listeners: number[] = [];
  readonly #pod: NodePod;
  readonly #options: DnsProxyOptions;
  readonly #sockets: DnsSockets;
  readonly #upstream: DnsUpstream;
  readonly #udp: dgram.Socket[] = [];
  readonly #tcp: net.Server[] = [];
  readonly #connections = new Set<net.Socket>();
  #closed = false;

  constructor(pod: NodePod, nameservers: readonly IpAddress[], options: DnsProxyOptions) {
    this.#pod = pod;
    this.#options = options;
    this.#sockets = options.openSockets?.(pod) ?? netnsSockets(pod.netns, options.exempt);
    this.#upstream = new DnsUpstream({
      ...options.upstream,
      sockets: this.#sockets,
      nameservers,
      clock: options.clock,
    });
  }

  listen(port: number): readonly SocketAddress[] {
    return this.#pod.addresses.map((address) => {
      const udp = this.#sockets.listenUdp({ address, port });
      const at = localAddress(udp);
      this.#serveUdp(udp, address);
      this.#serveTcp(this.#sockets.listenTcp(at));
      return at;
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#upstream.close();
    for (const socket of this.#udp) socket.close();
    for (const server of this.#tcp) server.close();
    for (const connection of this.#connections) connection.destroy();
    this.#sockets.close();
  }

  #serveUdp(fd: number, address: IpAddress): void {
    const socket = dgram.createSocket(isIpv6(address) ? 'udp6' : 'udp4');
    socket.on('error', (error) => this.#options.onError(this.#pod, error));
    socket.on('message', (packet, client) => {
      void this.#answer(packet, 'udp').then((response) => {
        // A client that is gone is no error of ours.
        if (response !== undefined && !this.#closed)
          socket.send(response, client.port, client.address, () => {});
      });
    });
    try {
      socket.bind({ fd });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    this.#udp.push(socket);
    this.listeners.push(fd);
  }

  #serveTcp(fd: number): void {
    const server = net.createServer({ allowHalfOpen: true }, (connection) =>
      this.#serveConnection(connection),
    );
    server.maxConnections = maxTcpConnections;
    server.on('error', (error) => this.#options.onError(this.#pod, error));
    server.listen({ fd });
    this.#tcp.push(server);
    this.listeners.push(fd);
  }

  #serveConnection(connection: net.Socket): void {
    // What one chunk held beyond the bounds waits here; nothing is read meanwhile. A client that does not read its
    // replies gets no further ones made.
    const waiting: Buffer[] = [];
    let pending = 0;
    let ended = false;
    const pump = (): void => {
      while (pending < maxPipelined && !connection.writableNeedDrain) {
        const packet = waiting.shift();
        if (packet === undefined) break;
        pending++;
        void this.#answer(packet, 'tcp').then((response) => {
          pending--;
          if (response !== undefined && connection.writable) connection.write(frameDns(response));
          pump();
        });
      }
      if (waiting.length > 0) connection.pause();
      else if (ended && pending === 0) connection.end();
      else connection.resume();
    };
    const reader = new DnsFrameReader((packet) => void waiting.push(packet));
    this.#connections.add(connection);
    connection.setTimeout(tcpIdleMs, () => connection.destroy());
    connection.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      pump();
    });
    connection.on('drain', pump);
    connection.on('end', () => {
      ended = true;
      pump();
    });
    connection.on('error', () => connection.destroy());
    connection.on('close', () => this.#connections.delete(connection));
  }

  /** The response, or undefined where there must be none. Never rejects. */
  async #answer(packet: Buffer, protocol: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const parsed = parseQuery(packet);
    if (parsed.kind === 'drop') return undefined;
    if (parsed.kind === 'error') return parsed.response;
    const { query } = parsed;
    try {
      return await this.#resolve(query, packet, protocol);
    } catch (error) {
      this.#options.onError(this.#pod, error instanceof Error ? error : new Error(String(error)));
      return errorResponse(query.head, rcodes.SERVFAIL);
    }
  }

  async #resolve(query: DnsQuery, packet: Buffer, protocol: 'udp' | 'tcp'): Promise<Buffer> {
    const { clusterDomain = 'cluster.local', random = Math.random } = this.#options;
    const snapshot = this.#options.snapshot();
    const client = (this.#options.clientOf ?? defaultClientOf)(this.#pod, snapshot);
    const labels: DnsLabels = { type: query.type, protocol, client };
    this.#options.metrics.request(labels);
    // Without knowing who asks, visibility can not be respected.
    if (client === undefined) return errorResponse(query.head, rcodes.SERVFAIL);
    if (query.name !== undefined && query.class === 1) {
      const question = { name: query.name, askedName: query.askedName, type: query.type };
      const known = answer(question, snapshot, { client, clusterDomain, random });
      if (known !== 'forward') return encodeResponse(query, known, protocol);
    }
    return this.#forward(query, packet, labels);
  }

  async #forward(query: DnsQuery, packet: Buffer, labels: DnsLabels): Promise<Buffer> {
    const { metrics, clock } = this.#options;
    const start = clock.monotonic();
    metrics.upstreamRequest(labels);
    const reply = await this.#upstream.query(packet, query.head.length, labels.protocol);
    metrics.upstreamDuration(labels, (clock.monotonic() - start) / 1_000);
    if (reply !== undefined) return reply;
    metrics.upstreamFailure(labels);
    return errorResponse(query.head, rcodes.SERVFAIL);
  }
}

function defaultClientOf(pod: NodePod, snapshot: Snapshot): Workload | undefined {
  return (
    snapshot.clientByUid(pod.uid) ?? snapshot.workloadByName(pod.namespace, pod.name, pod.serviceAccount)
  );
}
