// HTTP connections to one endpoint, of one version: requests get a free one or wait for the next. HTTP/1.1: one request
// at a time each, the one used last goes first, so that unneeded ones grow old. HTTP/2: one connection until its streams
// run out. Invariant: as long as somebody waits, a connection is being made or every possible one is busy.

import type { ByteTransport } from '../../../mesh/http/byte-transport.ts';
import type { HttpClientConnection } from '../../../mesh/http/connection.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import type { ConnectFailure, EndpointAddress, UpstreamProtocol } from './endpoint-address.ts';
import type { EndpointDialer, PendingDial } from './endpoint-dialer.ts';
import { type ConnectionOwner, PooledConnection } from './pooled-connection.ts';

/** Exactly one of the two follows `wait`, never from inside it, unless the waiter is forgotten. */
export interface ConnectionWaiter {
  readonly connectTimeoutMs: number;
  onConnection(connection: PooledConnection): void;
  onNoConnection(failure: ConnectFailure): void;
}

export interface EndpointPoolOptions {
  readonly dialer: EndpointDialer;
  readonly protocol: UpstreamProtocol;
  readonly maxConnections: number;
  readonly makeConnection: (transport: ByteTransport, handler: PooledConnection) => HttpClientConnection;
}

export class EndpointPool implements ConnectionOwner {
  readonly target: EndpointAddress;
  readonly protocol: UpstreamProtocol;
  #reactor: Reactor;
  #options: EndpointPoolOptions;
  #all = new Set<PooledConnection>();
  /** Free ones of HTTP/1.1; of HTTP/2 those that are not retired. */
  #free: PooledConnection[] = [];
  #waiting = new Set<ConnectionWaiter>();
  #dials = new Set<PendingDial>();

  constructor(reactor: Reactor, target: EndpointAddress, options: EndpointPoolOptions) {
    this.#reactor = reactor;
    this.target = target;
    this.protocol = options.protocol;
    this.#options = options;
  }

  /** Connections, those being made included. */
  get size(): number {
    return this.#all.size + this.#dials.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A connection that takes a request now; the caller makes it at once. */
  take(): PooledConnection | undefined {
    return this.protocol === 'http1' ? this.#takeFree() : this.#takeShared();
  }

  /** For when `take` had none. */
  wait(waiter: ConnectionWaiter): void {
    this.#waiting.add(waiter);
    this.#dialIfNeeded(waiter.connectTimeoutMs);
  }

  /** The waiter wants nothing any more. Idempotent. */
  forget(waiter: ConnectionWaiter): void {
    this.#waiting.delete(waiter);
  }

  /** The endpoint began a response on it. */
  heard(connection: PooledConnection): void {
    connection.heardMs = this.#reactor.now;
  }

  /**
   * A request that was sent at `sentMs` got no answer in its time. A connection on which nothing came since is likely to
   * lead nowhere, and without a tunnel nobody else finds that out: further requests get another one.
   */
  unanswered(connection: PooledConnection, sentMs: number): void {
    if (this.protocol === 'http1' || connection.heardMs >= sentMs) return;
    this.#dropFree(connection);
    connection.drain();
  }

  /** A stream of a shared connection has ended. */
  released(connection: PooledConnection): void {
    connection.idleSinceMs = this.#reactor.now;
  }

  /** Closes what has been free since before `sinceMs`. */
  closeIdle(sinceMs: number): void {
    for (const connection of [...this.#free]) {
      if (connection.http.openStreams > 0 || connection.idleSinceMs > sinceMs) continue;
      this.#dropFree(connection);
      connection.drain();
    }
  }

  /** No connection of now takes a further request: the certificate it was made with is replaced, or the endpoint goes. */
  drain(): void {
    for (const connection of [...this.#all]) {
      this.#dropFree(connection);
      connection.drain();
    }
  }

  /** Drops everything; waiters are told. */
  destroy(reason: string): void {
    for (const dial of this.#dials) dial.cancel();
    this.#dials.clear();
    this.#failWaiting({ kind: 'connect', message: reason, retryable: false });
    for (const connection of [...this.#all]) connection.http.destroy();
  }

  onAvailable(connection: PooledConnection): void {
    connection.idleSinceMs = this.#reactor.now;
    if (connection.retired) return;
    if (!this.#serveWaiting(connection) && this.protocol === 'http1') this.#addFree(connection);
  }

  onRetired(connection: PooledConnection): void {
    this.#dropFree(connection);
  }

  onClosed(connection: PooledConnection): void {
    this.#dropFree(connection);
    this.#all.delete(connection);
    const first = firstOf(this.#waiting);
    if (first !== undefined) this.#dialIfNeeded(first.connectTimeoutMs);
  }

  #takeFree(): PooledConnection | undefined {
    for (let connection = this.#free.pop(); connection !== undefined; connection = this.#free.pop()) {
      connection.idle = false;
      if (!connection.retired && connection.http.canOpen) return connection;
    }
    return undefined;
  }

  #takeShared(): PooledConnection | undefined {
    let best: PooledConnection | undefined;
    for (const connection of this.#free) {
      if (connection.retired || !connection.http.canOpen) continue;
      if (best === undefined || connection.http.openStreams < best.http.openStreams) best = connection;
    }
    return best;
  }

  #addFree(connection: PooledConnection): void {
    if (connection.idle) return;
    connection.idle = true;
    this.#free.push(connection);
  }

  #dropFree(connection: PooledConnection): void {
    if (!connection.idle) return;
    connection.idle = false;
    const at = this.#free.indexOf(connection);
    if (at >= 0) this.#free.splice(at, 1);
  }

  /** True if a waiter took the connection (HTTP/2: as far as its streams go). */
  #serveWaiting(connection: PooledConnection): boolean {
    let taken = false;
    while (this.#waiting.size > 0 && !connection.retired && connection.http.canOpen) {
      const waiter = firstOf(this.#waiting) as ConnectionWaiter;
      this.#waiting.delete(waiter);
      taken = true;
      waiter.onConnection(connection);
    }
    return taken && !(connection.http.canOpen && this.protocol === 'http1');
  }

  #dialIfNeeded(timeoutMs: number): void {
    const needed = this.protocol === 'http1' ? this.#waiting.size : Math.min(1, this.#waiting.size);
    if (this.#dials.size >= needed || this.size >= this.#options.maxConnections) return;
    const dial: PendingDial = this.#options.dialer.dial(
      this.target,
      { timeoutMs },
      {
        onTransport: (transport, released) => {
          this.#dials.delete(dial);
          this.#connected(transport, released);
        },
        onFailed: (failure) => {
          this.#dials.delete(dial);
          this.#dialFailed(failure, timeoutMs);
        },
      },
    );
    this.#dials.add(dial);
  }

  #connected(transport: ByteTransport, released: () => void): void {
    const connection = new PooledConnection(this, released);
    connection.http = this.#options.makeConnection(transport, connection);
    connection.idleSinceMs = this.#reactor.now;
    this.#all.add(connection);
    const taken = this.#serveWaiting(connection);
    if (this.protocol === 'http2' || !taken) this.#addFree(connection);
    const first = firstOf(this.#waiting);
    if (first !== undefined) this.#dialIfNeeded(first.connectTimeoutMs);
  }

  /** One dial serves one waiter of HTTP/1.1 and all of HTTP/2. */
  #dialFailed(failure: ConnectFailure, timeoutMs: number): void {
    const first = firstOf(this.#waiting);
    if (first === undefined) return;
    if (this.protocol === 'http2') return this.#failWaiting(failure);
    this.#waiting.delete(first);
    first.onNoConnection(failure);
    if (this.#waiting.size > 0) this.#dialIfNeeded(timeoutMs);
  }

  #failWaiting(failure: ConnectFailure): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const waiter of waiting) waiter.onNoConnection(failure);
  }
}

function firstOf<T>(set: ReadonlySet<T>): T | undefined {
  for (const item of set) return item;
  return undefined;
}
