// Tunnels around a data plane under test, on its own reactor: a node tunnel for clients, in front of it, and one for
// endpoints, behind it. Certificates are of a test authority.

import { connect, type Socket } from 'node:net';
import { parseAuthority } from '../../mesh/hbone/authority.ts';
import { TunnelPool } from '../../mesh/hbone/pool.ts';
import { type IncomingConnect, ServerTunnel } from '../../mesh/hbone/server-tunnel.ts';
import { TunnelSplice } from '../../mesh/hbone/splice.ts';
import type { Header } from '../../mesh/h2/header.ts';
import { BufferBudget } from '../../mesh/io/byte-queue.ts';
import * as libc from '../../mesh/io/libc.ts';
import { createTcpSocket, listenTcp, localAddress } from '../../mesh/io/socket.ts';
import { TcpDial } from '../../mesh/io/tcp-dial.ts';
import { TcpListener } from '../../mesh/io/tcp-listener.ts';
import { TcpStream } from '../../mesh/io/tcp-stream.ts';
import { TestAuthority } from '../../mesh/io/testing/authority.ts';
import { TlsContext } from '../../mesh/io/tls-context.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { loopback, type PlaneRig } from './plane-rig.ts';

export const webId = 'spiffe://cluster.local/ns/shop/sa/web' as SpiffeId;
export const waypointId = 'spiffe://cluster.local/ns/shop/sa/waypoint' as SpiffeId;

/** A port on loopback that nobody has now. */
export function freePort(): number {
  const fd = listenTcp({ address: loopback, port: 0 });
  const { port } = localAddress(fd);
  libc.close(fd);
  return port;
}

export class HboneSide {
  readonly rig: PlaneRig;
  readonly authority: TestAuthority;
  readonly pool: TunnelPool;
  readonly budget = new BufferBudget(64 * 1024 * 1024);
  readonly clientContext: TlsContext;
  /** CONNECT requests that endpoints got. */
  readonly connects: (readonly Header[])[] = [];
  /** Reasons and statuses of CONNECTs that the waypoint refused. */
  readonly failures: string[] = [];
  /** Endpoints never answer a CONNECT. */
  silent = false;
  /** Identities that endpoints saw. */
  readonly peers: string[] = [];
  #waypointPort: number;
  #nodeContext: TlsContext | undefined;
  #tunnels = new Set<ServerTunnel>();
  #splices = new Set<TunnelSplice>();
  #listeners = new Set<TcpListener>();

  private constructor(
    rig: PlaneRig,
    parts: { authority: TestAuthority; clientContext: TlsContext; waypointPort: number },
  ) {
    this.rig = rig;
    this.authority = parts.authority;
    this.clientContext = parts.clientContext;
    this.#waypointPort = parts.waypointPort;
    this.pool = new TunnelPool(rig.reactor, rig.plane.settings.liveness);
  }

  /** Gives the plane a certificate and a listener for tunnels. */
  static async open(rig: PlaneRig, client: SpiffeId = webId): Promise<HboneSide> {
    const authority = await TestAuthority.create();
    rig.plane.setCertificate(waypointId, await authority.issue({ uris: [waypointId] }));
    const fd = listenTcp({ address: loopback, port: 0 });
    const { port: waypointPort } = localAddress(fd);
    rig.plane.listenHbone(fd);
    const clientContext = new TlsContext('client', await authority.issue({ uris: [client] }));
    const side = new HboneSide(rig, { authority, clientContext, waypointPort });
    rig.onClose(() => side.#close());
    return side;
  }

  /** The node of endpoints with this identity; the plane must have been made with `hbonePort: port`. */
  async serveEndpoints(port: number, identity: SpiffeId): Promise<void> {
    this.#nodeContext = new TlsContext('server', await this.authority.issue({ uris: [identity] }));
    const context = this.#nodeContext;
    this.#listen(listenTcp({ address: loopback, port }), (accepted) => {
      const tunnel: ServerTunnel = new ServerTunnel(this.rig.reactor, accepted, {
        context,
        trustDomain: 'cluster.local',
        remote: { address: loopback, port: 1 },
        local: { address: loopback, port },
        liveness: this.rig.plane.settings.liveness,
        handshakeTimeoutMs: 5_000,
        onRequest: (request) => this.#dialApp(request),
        onFailed: (error) => this.failures.push(error.message),
        onClosed: () => this.#tunnels.delete(tunnel),
      });
      this.#tunnels.add(tunnel);
    });
  }

  /** Ends the tunnels of endpoints at once. */
  dropEndpoints(): void {
    for (const tunnel of [...this.#tunnels]) tunnel.destroy();
  }

  /** A port on loopback: what connects there goes to the authority through the waypoint, as a captured pod's does. */
  capture(authority: string, headers: readonly Header[] = []): number {
    const fd = listenTcp({ address: loopback, port: 0 });
    const { port } = localAddress(fd);
    this.#listen(fd, (accepted) => this.#outbound(accepted, authority, headers));
    return port;
  }

  connect(authority: string, headers: readonly Header[] = []): Socket {
    const socket = connect(this.capture(authority, headers), '127.0.0.1');
    socket.on('error', () => {});
    this.rig.onClose(() => socket.destroy());
    return socket;
  }

  #listen(fd: number, onConnection: (fd: number) => void): void {
    this.#listeners.add(new TcpListener(this.rig.reactor, fd, { onConnection }));
  }

  #outbound(fd: number, authority: string, headers: readonly Header[]): void {
    const { reactor } = this.rig;
    const request = this.pool.connect(
      {
        source: webId,
        sourceAddress: loopback,
        target: { address: loopback, port: this.#waypointPort },
        expected: [waypointId],
      },
      {
        context: this.clientContext,
        createSocket: () => createTcpSocket(libc.AF_INET),
        connectTimeoutMs: 5_000,
        handshakeTimeoutMs: 5_000,
      },
      [[':method', 'CONNECT'], [':authority', authority], ...headers],
      {
        onFailed: (error) => {
          this.failures.push(error.message);
          libc.close(fd);
        },
        onConnected: (stream, session) => {
          const splice: TunnelSplice = new TunnelSplice(
            reactor,
            new TcpStream(fd),
            { session, stream },
            {
              budget: this.budget,
              idleTimeoutMs: 0,
              halfClosedTimeoutMs: 60_000,
              onEnd: () => {
                this.#splices.delete(splice);
                request.tunnel.streamEnded();
              },
            },
          );
          this.#splices.add(splice);
          return splice;
        },
      },
    );
  }

  #dialApp(request: IncomingConnect): void {
    const { reactor } = this.rig;
    this.connects.push(request.headers);
    this.peers.push(`${request.tunnel.peer.namespace}/${request.tunnel.peer.serviceAccount}`);
    if (this.silent) return undefined;
    const target = parseAuthority(request.authority);
    if (target?.kind !== 'address') return request.reject(400);
    const { tunnel, stream } = request;
    const dial = new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
      target,
      timeoutMs: 5_000,
      onFailed: (error) => request.reject(503, error.message),
      onConnected: (connected) => {
        const splice: TunnelSplice = new TunnelSplice(
          reactor,
          new TcpStream(connected),
          { session: tunnel.session, stream },
          {
            budget: this.budget,
            idleTimeoutMs: 0,
            halfClosedTimeoutMs: 60_000,
            onEnd: () => {
              this.#splices.delete(splice);
              tunnel.streamEnded();
            },
          },
        );
        this.#splices.add(splice);
        request.accept([], splice);
      },
    });
    request.onGone(() => dial.cancel());
  }

  #close(): void {
    for (const listener of this.#listeners) listener.close();
    for (const splice of [...this.#splices]) splice.close();
    this.pool.destroy(() => true);
    for (const tunnel of [...this.#tunnels]) tunnel.destroy();
    this.clientContext[Symbol.dispose]();
    this.#nodeContext?.[Symbol.dispose]();
  }
}
