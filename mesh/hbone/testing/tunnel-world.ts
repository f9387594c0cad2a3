// A whole path on loopback in one reactor, for tests: client application -> splice -> pooled tunnel -> server tunnel ->
// splice -> application. Both applications are the test's, on node:net.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Header } from '../../h2/header.ts';
import { BufferBudget } from '../../io/byte-queue.ts';
import type { IoError } from '../../io/io-error.ts';
import * as libc from '../../io/libc.ts';
import { Reactor } from '../../io/reactor.ts';
import { createTcpSocket, listenTcp, localAddress } from '../../io/socket.ts';
import { TcpDial } from '../../io/tcp-dial.ts';
import { TcpListener } from '../../io/tcp-listener.ts';
import { TcpStream } from '../../io/tcp-stream.ts';
import { TestAuthority } from '../../io/testing/authority.ts';
import { pump, pumpUntil } from '../../io/testing/pump.ts';
import { TlsContext } from '../../io/tls-context.ts';
import { ip } from '../../model/fixture.ts';
import type { SpiffeId } from '../../model/spiffe-id.ts';
import type { ConnectHandler, ConnectRequest } from '../client-tunnel.ts';
import type { HboneError } from '../hbone-error.ts';
import { parseAuthority } from '../authority.ts';
import { TunnelPool, type TunnelMaker, type TunnelRoute } from '../pool.ts';
import { type IncomingConnect, ServerTunnel } from '../server-tunnel.ts';
import { type SpliceEnd, type SpliceOptions, TunnelSplice } from '../splice.ts';
import type { LivenessOptions } from '../tunnel-settings.ts';

export const loopback = ip('127.0.0.1');
export const webId = 'spiffe://cluster.local/ns/shop/sa/web' as SpiffeId;
export const apiId = 'spiffe://cluster.local/ns/shop/sa/api' as SpiffeId;

export interface WorldOptions {
  readonly liveness?: Partial<LivenessOptions>;
  readonly splice?: Partial<SpliceOptions>;
  /** Replaces dialling the application that the authority names. */
  readonly onRequest?: (request: IncomingConnect) => void;
  readonly handshakeTimeoutMs?: number;
}

/** What became of one side of a spliced connection. */
export interface SplicedSide {
  readonly splice: TunnelSplice;
  end: SpliceEnd | undefined;
  /** What the other node said about the cut. */
  reason: string | undefined;
}

/** One connection all the way through. */
export interface Through {
  readonly client: Socket;
  readonly app: Socket;
  readonly outbound: SplicedSide;
  readonly inbound: SplicedSide;
}

export class TunnelWorld {
  readonly reactor: Reactor;
  readonly pool: TunnelPool;
  readonly budget = new BufferBudget(256 * 1024 * 1024);
  readonly tunnels = new Set<ServerTunnel>();
  readonly failures: IoError[] = [];
  readonly authority: TestAuthority;
  clientContext: TlsContext;
  readonly serverContext: TlsContext;
  port = 0;
  /** On loopback; a test may put an application of its own in place of the world's. */
  applicationPort = 0;
  readonly inbound: SplicedSide[] = [];
  readonly outbound: SplicedSide[] = [];
  readonly errors: unknown[] = [];
  #sockets: Socket[] = [];
  #listeners: TcpListener[] = [];
  #app!: Server;
  /** Connections that applications behind the tunnels got. */
  readonly accepted: Socket[] = [];
  readonly #options: WorldOptions;

  private constructor(
    authority: TestAuthority,
    contexts: readonly [TlsContext, TlsContext],
    options: WorldOptions,
  ) {
    this.authority = authority;
    this.#options = options;
    [this.clientContext, this.serverContext] = contexts;
    this.reactor = new Reactor({ onError: (error) => this.errors.push(error) });
    this.pool = new TunnelPool(this.reactor, this.liveness);
  }

  static async create(options: WorldOptions = {}): Promise<TunnelWorld> {
    const authority = await TestAuthority.create();
    const client = new TlsContext('client', await authority.issue({ uris: [webId] }));
    const server = new TlsContext('server', await authority.issue({ uris: [apiId] }));
    const world = new TunnelWorld(authority, [client, server], options);
    world.#serve();
    world.#app = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      world.accepted.push(world.keep(socket));
    }).listen(0, '127.0.0.1');
    await once(world.#app, 'listening');
    world.applicationPort = (world.#app.address() as AddressInfo).port;
    return world;
  }

  get liveness(): LivenessOptions {
    return {
      pingAfterMs: 10_000,
      pingTimeoutMs: 20_000,
      unusedReleaseMs: 300_000,
      ...this.#options.liveness,
    };
  }

  get authorityText(): string {
    return `127.0.0.1:${this.applicationPort}`;
  }

  /** Ends everything; what is left open afterwards is a leak. */
  async close(): Promise<void> {
    const open = this.#sockets.filter((socket) => !socket.closed);
    const gone = open.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const side of [...this.inbound, ...this.outbound]) side.splice.close();
    for (const socket of open) socket.destroy();
    for (const listener of this.#listeners) listener.close();
    this.pool.destroy(() => true);
    for (const tunnel of [...this.tunnels]) tunnel.destroy();
    this.#app.close();
    await pumpUntil(this.reactor, 'sockets to close', Promise.all(gone));
    if (this.tunnels.size + this.pool.size > 0)
      throw new Error(`${this.tunnels.size} + ${this.pool.size} tunnels were left behind`);
    if (this.budget.used > 0) throw new Error(`${this.budget.used} bytes of the budget were not given back`);
    this.clientContext[Symbol.dispose]();
    this.serverContext[Symbol.dispose]();
    this.reactor[Symbol.dispose]();
  }

  /** Closes a socket of the test at the end. */
  keep<T extends Socket>(socket: T): T {
    socket.on('error', () => {});
    this.#sockets.push(socket);
    return socket;
  }

  route(change: Partial<TunnelRoute> = {}): TunnelRoute {
    return {
      source: webId,
      sourceAddress: loopback,
      target: { address: loopback, port: this.port },
      expected: [apiId],
      ...change,
    };
  }

  make(change: Partial<TunnelMaker> = {}): TunnelMaker {
    return {
      context: this.clientContext,
      createSocket: () => createTcpSocket(libc.AF_INET),
      connectTimeoutMs: 5_000,
      handshakeTimeoutMs: 5_000,
      ...change,
    };
  }

  headers(...more: Header[]): readonly Header[] {
    return [[':method', 'CONNECT'], [':authority', this.authorityText], ...more];
  }

  /** One CONNECT without an application behind it. */
  request(
    handler: ConnectHandler,
    route: Partial<TunnelRoute> = {},
    make: Partial<TunnelMaker> = {},
  ): ConnectRequest {
    return this.pool.connect(this.route(route), this.make(make), this.headers(), handler);
  }

  /** The error that a CONNECT ends with. */
  async failure(route: Partial<TunnelRoute> = {}, make: Partial<TunnelMaker> = {}): Promise<HboneError> {
    let failure: HboneError | undefined;
    this.request(
      {
        onFailed: (error) => {
          failure = error;
        },
        onConnected: () => {
          throw new Error('The request was answered with 200');
        },
      },
      route,
      make,
    );
    await pump(this.reactor, 'the failure', () => failure !== undefined);
    return failure as unknown as HboneError;
  }

  /** A client application connected through the tunnel; both ends are paused. */
  async through(splice: Partial<SpliceOptions> = {}): Promise<Through> {
    const known = { accepted: this.accepted.length, inbound: this.inbound.length };
    const { client, side } = await this.outboundOnly(splice);
    const connected = () => this.inbound.length > known.inbound && this.accepted.length > known.accepted;
    await pump(this.reactor, 'the application', connected);
    return {
      client,
      app: this.accepted[known.accepted] as Socket,
      outbound: side,
      inbound: this.inbound[known.inbound] as SplicedSide,
    };
  }

  /** The client's half of it, for a server of another kind. */
  async outboundOnly(
    splice: Partial<SpliceOptions> = {},
  ): Promise<{ client: Socket; side: SplicedSide; request: ConnectRequest }> {
    const known = this.outbound.length;
    let request: ConnectRequest | undefined;
    const { listener, port } = this.listenOutbound(splice, (made) => {
      request = made;
    });
    const client = this.keep(connect({ port, host: '127.0.0.1', allowHalfOpen: true })).pause();
    await pump(this.reactor, 'the tunnel', () => this.outbound.length > known);
    listener.close();
    return {
      client,
      side: this.outbound[known] as SplicedSide,
      request: request as unknown as ConnectRequest,
    };
  }

  /** Where applications enter the tunnel; the caller closes the listener. */
  listenOutbound(
    splice: Partial<SpliceOptions> = {},
    onRequest: (request: ConnectRequest) => void = () => {},
  ): { listener: TcpListener; port: number } {
    const fd = listenTcp({ address: loopback, port: 0 });
    const { port } = localAddress(fd);
    const listener = new TcpListener(this.reactor, fd, {
      onConnection: (accepted) => onRequest(this.#outbound(accepted, splice)),
    });
    return { listener, port };
  }

  #spliceOptions(side: () => SplicedSide, change: Partial<SpliceOptions>, onEnd: () => void): SpliceOptions {
    return {
      budget: this.budget,
      idleTimeoutMs: 0,
      halfClosedTimeoutMs: 60_000,
      ...this.#options.splice,
      ...change,
      onEnd: (end) => {
        side().end = end;
        onEnd();
      },
    };
  }

  #outbound(fd: number, change: Partial<SpliceOptions>): ConnectRequest {
    const request: ConnectRequest = this.request({
      onFailed: (error) => {
        libc.close(fd);
        this.errors.push(error);
      },
      onConnected: (stream, session) => {
        const options = this.#spliceOptions(
          () => side,
          change,
          () => {
            side.reason = request.tunnel.takeReason(stream.id);
            request.tunnel.streamEnded();
          },
        );
        const splice = new TunnelSplice(this.reactor, new TcpStream(fd), { session, stream }, options);
        const side: SplicedSide = { splice, end: undefined, reason: undefined };
        this.outbound.push(side);
        return splice;
      },
    });
    return request;
  }

  #serve(): void {
    const fd = listenTcp({ address: loopback, port: 0 });
    const local = localAddress(fd);
    this.port = local.port;
    const listener = new TcpListener(this.reactor, fd, {
      onConnection: (accepted, remote) => {
        const tunnel: ServerTunnel = new ServerTunnel(this.reactor, accepted, {
          context: this.serverContext,
          trustDomain: 'cluster.local',
          remote,
          local,
          liveness: this.liveness,
          handshakeTimeoutMs: this.#options.handshakeTimeoutMs ?? 5_000,
          onRequest: this.#options.onRequest ?? ((request) => this.dialApp(request)),
          onFailed: (error) => this.failures.push(error),
          onClosed: () => this.tunnels.delete(tunnel),
        });
        this.tunnels.add(tunnel);
      },
    });
    this.#listeners.push(listener);
  }

  /** What a node does without policies: dials the application that the authority names, then 200. */
  dialApp(request: IncomingConnect): void {
    const target = parseAuthority(request.authority);
    if (target?.kind !== 'address') return request.reject(400);
    const { tunnel, stream } = request;
    const dial = new TcpDial(this.reactor, createTcpSocket(libc.AF_INET), {
      target,
      timeoutMs: 5_000,
      onFailed: (error) => request.reject(503, error.message),
      onConnected: (connected) => {
        const options = this.#spliceOptions(
          () => side,
          {},
          () => tunnel.streamEnded(),
        );
        const { session } = tunnel;
        const splice = new TunnelSplice(this.reactor, new TcpStream(connected), { session, stream }, options);
        const side: SplicedSide = { splice, end: undefined, reason: undefined };
        this.inbound.push(side);
        request.accept([], splice);
      },
    });
    request.onGone(() => dial.cancel());
  }
}

/** What `socket` reads until its end: `end` when in order, or the code of its error. */
export async function readAll(socket: Socket): Promise<{ bytes: Buffer; how: string }> {
  const chunks: Buffer[] = [];
  return await new Promise((resolve) => {
    const done = (how: string) => resolve({ bytes: Buffer.concat(chunks), how });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => done('end'));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    socket.resume();
  });
}
