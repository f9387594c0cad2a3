// Tunnels that connections share. The key holds everything a tunnel vouches for: who dials (identity and address), who
// is expected there and where; two sources never share one. Concurrent first requests wait for one tunnel.

import type { Header } from '../h2/header.ts';
import type { Reactor } from '../io/reactor.ts';
import type { SocketAddress } from '../io/socket-address.ts';
import type { TlsContext } from '../io/tls-context.ts';
import type { IpAddress } from '../model/ip-address.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { ClientTunnel, type ConnectHandler, type ConnectRequest } from './client-tunnel.ts';
import type { LivenessOptions } from './tunnel-settings.ts';

export interface TunnelRoute {
  readonly source: SpiffeId;
  readonly sourceAddress: IpAddress;
  readonly target: SocketAddress;
  readonly expected: readonly SpiffeId[];
}

export interface TunnelMaker {
  readonly context: TlsContext;
  readonly createSocket: () => number;
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
}

export class TunnelPool {
  #reactor: Reactor;
  #liveness: LivenessOptions;
  #tunnels = new Map<string, ClientTunnel[]>();
  /** Of routes that are asked for over and over. */
  #keys = new WeakMap<TunnelRoute, string>();
  #all = new Map<ClientTunnel, TunnelRoute>();

  constructor(reactor: Reactor, liveness: LivenessOptions) {
    this.#reactor = reactor;
    this.#liveness = liveness;
  }

  /** Open tunnels, connecting and draining ones included. */
  get size(): number {
    return this.#all.size;
  }

  /**
   * Asks for a stream on a tunnel of `route`, making one with `make` when none has room.
   * @throws IoError when a socket cannot be made.
   */
  connect(
    route: TunnelRoute,
    make: TunnelMaker,
    headers: readonly Header[],
    handler: ConnectHandler,
  ): ConnectRequest {
    const key = this.#keyOf(route);
    let tunnel = this.#tunnels.get(key)?.find((candidate) => candidate.available);
    if (tunnel === undefined) tunnel = this.#add(key, route, make);
    return tunnel.connect(headers, handler);
  }

  /** Retires tunnels: no further streams, open ones finish. */
  drain(which: (route: TunnelRoute) => boolean): void {
    for (const [tunnel, route] of [...this.#all]) if (which(route)) tunnel.drain();
  }

  /** Drops tunnels and the streams in them. */
  destroy(which: (route: TunnelRoute) => boolean): void {
    for (const [tunnel, route] of [...this.#all]) if (which(route)) tunnel.destroy();
  }

  #keyOf(route: TunnelRoute): string {
    let key = this.#keys.get(route);
    if (key === undefined) this.#keys.set(route, (key = keyOf(route)));
    return key;
  }

  #add(key: string, route: TunnelRoute, make: TunnelMaker): ClientTunnel {
    const tunnel: ClientTunnel = new ClientTunnel(this.#reactor, {
      target: route.target,
      expected: route.expected,
      context: make.context,
      createSocket: make.createSocket,
      connectTimeoutMs: make.connectTimeoutMs,
      handshakeTimeoutMs: make.handshakeTimeoutMs,
      liveness: this.#liveness,
      onRetired: () => this.#retire(key, tunnel),
      onClosed: () => {
        this.#all.delete(tunnel);
      },
    });
    const list = this.#tunnels.get(key);
    if (list === undefined) this.#tunnels.set(key, [tunnel]);
    else list.push(tunnel);
    this.#all.set(tunnel, route);
    return tunnel;
  }

  #retire(key: string, tunnel: ClientTunnel): void {
    const left = this.#tunnels.get(key)?.filter((other) => other !== tunnel) ?? [];
    if (left.length === 0) this.#tunnels.delete(key);
    else this.#tunnels.set(key, left);
  }
}

function keyOf(route: TunnelRoute): string {
  return `${route.source}|${route.sourceAddress}|${route.target.address}|${route.target.port}|${route.expected.join(' ')}`;
}
