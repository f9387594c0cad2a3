// Opens byte streams to endpoints: in a tunnel under the waypoint's own identity, or over plain TCP where the endpoint
// has none. Knows nothing of what runs on them. One callback for each dial, never from inside the call, unless cancelled.

import type { HboneError } from '../../../mesh/hbone/hbone-error.ts';
import { newTraceparent, formatForwarded } from '../../../mesh/hbone/metadata.ts';
import { TunnelPool } from '../../../mesh/hbone/pool.ts';
import { StreamTransport } from '../../../mesh/hbone/stream-transport.ts';
import type { LivenessOptions } from '../../../mesh/hbone/tunnel-settings.ts';
import type { Header } from '../../../mesh/h2/header.ts';
import type { ByteTransport } from '../../../mesh/http/byte-transport.ts';
import type { BufferBudget } from '../../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import { configureConnection, createTcpSocket } from '../../../mesh/io/socket.ts';
import { familyOf, type SocketAddress } from '../../../mesh/io/socket-address.ts';
import { TcpDial } from '../../../mesh/io/tcp-dial.ts';
import { TcpTransport } from '../../../mesh/io/tcp-transport.ts';
import { formatHostPort, type IpAddress } from '../../../mesh/model/ip-address.ts';
import type { SpiffeId } from '../../../mesh/model/spiffe-id.ts';
import type { TlsIdentities } from '../../../mesh/proxy/tls-identities.ts';
import type { ConnectFailure, EndpointAddress } from './endpoint-address.ts';

export interface DialHandler {
  /** @param released to be called when what runs on the transport has ended, whatever the way */
  onTransport(transport: ByteTransport, released: () => void): void;
  onFailed(failure: ConnectFailure): void;
}

export interface PendingDial {
  /** Idempotent. */
  cancel(): void;
}

export interface DialOptions {
  readonly timeoutMs: number;
  /** The original client, for an application that shall see its address; only where one connection is one client's. */
  readonly client?: SocketAddress;
}

export interface EndpointDialerOptions {
  readonly identities: TlsIdentities;
  readonly liveness: LivenessOptions;
  readonly handshakeTimeoutMs: number;
  readonly budget: BufferBudget;
  /** Port of tunnels of endpoints. */
  readonly hbonePort: number;
}

const anyAddress = '' as IpAddress;
const nothing = (): void => {};
/** So that the reason of a slow connect or handshake is heard before. */
const answerSlackMs = 250;

export class EndpointDialer {
  readonly tunnels: TunnelPool;
  #reactor: Reactor;
  #options: EndpointDialerOptions;
  #identity: SpiffeId | undefined;

  constructor(reactor: Reactor, options: EndpointDialerOptions) {
    this.#reactor = reactor;
    this.#options = options;
    this.tunnels = new TunnelPool(reactor, options.liveness);
  }

  /** Under whose name tunnels are made from here on; earlier ones take no further streams. */
  set identity(spiffeId: SpiffeId) {
    this.#identity = spiffeId;
    this.tunnels.drain(() => true);
  }

  dial(target: EndpointAddress, options: DialOptions, handler: DialHandler): PendingDial {
    try {
      return target.expected === undefined
        ? this.#plain(target, options, handler)
        : this.#tunnel(target, target.expected, options, handler);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return this.#reactor.after(0, () => handler.onFailed({ kind: 'connect', message, retryable: false }));
    }
  }

  #plain(target: EndpointAddress, { timeoutMs }: DialOptions, handler: DialHandler): PendingDial {
    const fd = createTcpSocket(familyOf(target.address));
    configureConnection(fd);
    return new TcpDial(this.#reactor, fd, {
      target,
      timeoutMs,
      onConnected: (connected) =>
        handler.onTransport(
          new TcpTransport(this.#reactor, connected, { budget: this.#options.budget }),
          nothing,
        ),
      onFailed: ({ message }) => handler.onFailed({ kind: 'connect', message, retryable: true }),
    });
  }

  #tunnel(
    target: EndpointAddress,
    expected: readonly SpiffeId[],
    options: DialOptions,
    handler: DialHandler,
  ): PendingDial {
    const source = this.#identity;
    const tls = source === undefined ? undefined : this.#options.identities.get(source);
    if (source === undefined || tls === undefined) throw new Error('The waypoint has no certificate yet');
    const { address } = target;
    const request = this.tunnels.connect(
      { source, sourceAddress: anyAddress, target: { address, port: this.#options.hbonePort }, expected },
      {
        context: tls.client,
        createSocket: () => tunnelSocket(address),
        connectTimeoutMs: options.timeoutMs,
        handshakeTimeoutMs: this.#options.handshakeTimeoutMs,
      },
      connectHeaders(target, options.client),
      {
        onConnected: (stream, session) => {
          timer.cancel();
          const transport = new StreamTransport(this.#reactor, {
            stream,
            session,
            budget: this.#options.budget,
          });
          handler.onTransport(transport, () => request.tunnel.streamEnded());
          return transport;
        },
        onFailed: (error) => {
          timer.cancel();
          handler.onFailed(failureOf(error));
        },
      },
    );
    // Connecting and the handshake have their own limits; the answer to CONNECT, which waits for the application, has this.
    const limitMs = options.timeoutMs + this.#options.handshakeTimeoutMs + answerSlackMs;
    const timer = this.#reactor.after(limitMs, () => {
      request.cancel();
      handler.onFailed({ kind: 'tunnel', message: `no answer to CONNECT in ${limitMs} ms`, retryable: true });
    });
    return {
      cancel: () => {
        timer.cancel();
        request.cancel();
      },
    };
  }
}

function connectHeaders({ address, port }: EndpointAddress, client: SocketAddress | undefined): Header[] {
  const headers: Header[] = [
    [':method', 'CONNECT'],
    [':authority', formatHostPort(address, port)],
    ['traceparent', newTraceparent()],
  ];
  if (client !== undefined) headers.push(['forwarded', formatForwarded(client, undefined)]);
  return headers;
}

function tunnelSocket(address: IpAddress): number {
  const fd = createTcpSocket(familyOf(address));
  configureConnection(fd);
  return fd;
}

function failureOf({ code, message, retryable }: HboneError): ConnectFailure {
  if (code === 'denied') return { kind: 'denied', message, retryable: false };
  return { kind: code === 'connect-failed' ? 'connect' : 'tunnel', message, retryable };
}
