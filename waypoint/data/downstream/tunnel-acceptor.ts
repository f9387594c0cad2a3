// Tunnels of nodes (HBONE): TLS with the waypoint's own certificate, then one CONNECT for each connection of a client.
// Who the client is says its node's certificate for it; where it is, the tunnel's own source; what it asked for, the
// authority. Decides only whether that is served here at all; the connection itself is its taker's.

import { parseAuthority } from '../../../mesh/hbone/authority.ts';
import { parseForwarded } from '../../../mesh/hbone/metadata.ts';
import { type IncomingConnect, ServerTunnel } from '../../../mesh/hbone/server-tunnel.ts';
import { StreamTransport } from '../../../mesh/hbone/stream-transport.ts';
import type { LivenessOptions } from '../../../mesh/hbone/tunnel-settings.ts';
import { headerValue } from '../../../mesh/h2/header.ts';
import type { ByteTransport } from '../../../mesh/http/byte-transport.ts';
import type { BufferBudget } from '../../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import { localAddress, resetAndClose } from '../../../mesh/io/socket.ts';
import type { SocketAddress } from '../../../mesh/io/socket-address.ts';
import type { TlsContext } from '../../../mesh/io/tls-context.ts';
import type { GatewayKey } from '../../../mesh/model/routing.ts';
import { formatSpiffeId } from '../../../mesh/model/spiffe-id.ts';
import type { Snapshot } from '../../../mesh/state/snapshot.ts';
import { classify } from '../classify.ts';
import type { ClientConnection } from '../client-connection.ts';
import type { PlaneReport } from '../plane-report.ts';

export interface TunnelAcceptorOptions {
  readonly gateway: GatewayKey;
  readonly network: string;
  readonly liveness: LivenessOptions;
  readonly handshakeTimeoutMs: number;
  readonly budget: BufferBudget;
  readonly report: PlaneReport;
  /** Of the waypoint's certificate and the mesh; undefined before the first certificate. */
  readonly tls: () => { readonly context: TlsContext; readonly trustDomain: string } | undefined;
  readonly snapshot: () => Snapshot;
  /** False: there is no room for another connection. */
  readonly admit: () => boolean;
  /** @param released to be called when the connection has ended, whatever the way */
  readonly take: (client: ClientConnection, transport: ByteTransport, released: () => void) => void;
  readonly onTunnelClosed: () => void;
}

export class TunnelAcceptor {
  #reactor: Reactor;
  #options: TunnelAcceptorOptions;
  #tunnels = new Set<ServerTunnel>();

  constructor(reactor: Reactor, options: TunnelAcceptorOptions) {
    this.#reactor = reactor;
    this.#options = options;
  }

  get size(): number {
    return this.#tunnels.size;
  }

  /** Takes ownership of an accepted socket. */
  accept(fd: number, remote: SocketAddress): void {
    const { tls, liveness, handshakeTimeoutMs, report, onTunnelClosed } = this.#options;
    const own = tls();
    if (own === undefined) return resetAndClose(fd);
    const tunnel: ServerTunnel = new ServerTunnel(this.#reactor, fd, {
      context: own.context,
      trustDomain: own.trustDomain,
      remote,
      local: localAddress(fd),
      liveness,
      handshakeTimeoutMs,
      onRequest: (request) => this.#request(request),
      onFailed: ({ message }) =>
        report.refused({ ...remote, spiffeId: undefined, authority: '', status: 0, reason: message }),
      onClosed: () => {
        this.#tunnels.delete(tunnel);
        onTunnelClosed();
      },
    });
    this.#tunnels.add(tunnel);
  }

  drain(): void {
    for (const tunnel of [...this.#tunnels]) tunnel.drain();
  }

  destroy(): void {
    for (const tunnel of [...this.#tunnels]) tunnel.destroy();
  }

  #request(request: IncomingConnect): void {
    const client = this.#clientOf(request);
    if ('status' in client) return this.#refuse(request, client);
    if (!this.#options.admit())
      return this.#refuse(request, {
        status: 503,
        reason: 'the waypoint has as many connections as it takes',
      });
    const { tunnel, stream } = request;
    const { budget, take } = this.#options;
    const transport = new StreamTransport(this.#reactor, { stream, session: tunnel.session, budget });
    request.accept([], transport);
    take(client, transport, () => tunnel.streamEnded());
  }

  #clientOf(
    request: IncomingConnect,
  ): ClientConnection | { readonly status: number; readonly reason: string } {
    if (!request.isConnect) return { status: 400, reason: 'the method is not CONNECT' };
    const authority = parseAuthority(request.authority);
    if (authority === undefined) return { status: 400, reason: 'the authority is not host:port' };
    const { gateway, network } = this.#options;
    const { peer, options } = request.tunnel;
    const snapshot = this.#options.snapshot();
    const found = classify(snapshot, authority, { gateway, network, clientNamespace: peer.namespace });
    if (found.kind === 'refused') return found;
    const { source } = parseForwarded(headerValue(request.headers, 'forwarded') ?? '');
    const { remote } = options;
    return {
      listener: 'hbone',
      address: remote.address,
      // The forwarded port is believed only with the address the tunnel itself comes from.
      port: source !== undefined && source.address === remote.address ? source.port : remote.port,
      peer,
      spiffeId: formatSpiffeId(peer),
      workload: snapshot.workloadByAddress(network, remote.address),
      namespace: peer.namespace,
      authority: request.authority,
      service: found.kind === 'service' ? found.service : undefined,
      target: found.kind === 'workload' ? found.workload : undefined,
      servicePort: found.port,
      destination: found.destination,
    };
  }

  #refuse(request: IncomingConnect, { status, reason }: { status: number; reason: string }): void {
    const { tunnel } = request;
    request.reject(status, reason);
    tunnel.streamEnded();
    this.#options.report.refused({
      ...tunnel.options.remote,
      spiffeId: formatSpiffeId(tunnel.peer),
      authority: request.authority.slice(0, 300),
      status,
      reason,
    });
  }
}
