// HTTP connections on real sockets on one reactor: a server that hands requests to the test, or joins them with an
// upstream. Everything is closed at the end, and what was left open is a leak.

import { ip } from '../../model/fixture.ts';
import { BufferBudget } from '../../io/byte-queue.ts';
import * as libc from '../../io/libc.ts';
import { Reactor } from '../../io/reactor.ts';
import { createTcpSocket, listenTcp, localAddress } from '../../io/socket.ts';
import { TcpDial } from '../../io/tcp-dial.ts';
import { TcpListener } from '../../io/tcp-listener.ts';
import { TcpTransport } from '../../io/tcp-transport.ts';
import { pump } from '../../io/testing/pump.ts';
import { Http1ClientConnection } from '../client-connection.ts';
import type { HttpClientConnection, HttpServerConnection, HttpServerHandler } from '../connection.ts';
import { H2ClientConnection, H2ServerConnection } from '../h2-connection.ts';
import { InputBudget } from '../head-gatherer.ts';
import { Http1ServerConnection } from '../server-connection.ts';
import { Join, joinerBudget } from './joiner.ts';

const loopback = ip('127.0.0.1');
export type Version = 'http1' | 'h2';

export class HttpWorld {
  readonly errors: unknown[] = [];
  readonly reactor = new Reactor({ onError: (error) => this.errors.push(error) });
  readonly budget = new BufferBudget(64 << 20);
  readonly input = new InputBudget(8 << 20);
  readonly servers = new Set<HttpServerConnection>();
  readonly clients = new Set<HttpClientConnection>();
  readonly refusals: string[] = [];
  readonly ends: (string | undefined)[] = [];
  /** How often a client said that it takes requests again. */
  available = 0;
  #listeners: TcpListener[] = [];
  #dials = 0;

  /** Serves on a port of its own, which it returns. */
  serve(version: Version, onRequest: HttpServerHandler['onRequest']): number {
    const fd = listenTcp({ address: loopback, port: 0 });
    const { port } = localAddress(fd);
    this.#listeners.push(
      new TcpListener(this.reactor, fd, {
        onConnection: (accepted) => {
          const transport = new TcpTransport(this.reactor, accepted, { budget: this.budget });
          const handler: HttpServerHandler = {
            onRequest,
            onRefused: (status, reason) => this.refusals.push(`${status} ${reason}`),
            onClosed: (reason) => {
              this.ends.push(reason);
              this.servers.delete(connection);
            },
          };
          const connection: HttpServerConnection =
            version === 'h2'
              ? new H2ServerConnection(this.reactor, transport, { handler })
              : new Http1ServerConnection(this.reactor, transport, {
                  scheme: 'http',
                  handler,
                  budget: this.input,
                });
          this.servers.add(connection);
        },
      }),
    );
    return port;
  }

  /** Connects to `port` of this machine. */
  async connect(version: Version, port: number): Promise<HttpClientConnection> {
    let made: HttpClientConnection | undefined;
    this.dial(version, port, (connection) => {
      made = connection;
    });
    await pump(this.reactor, 'the connection', () => made !== undefined);
    return made as unknown as HttpClientConnection;
  }

  dial(version: Version, port: number, onConnected: (connection: HttpClientConnection) => void): void {
    this.#dials++;
    new TcpDial(this.reactor, createTcpSocket(libc.AF_INET), {
      target: { address: loopback, port },
      timeoutMs: 5_000,
      onFailed: (error) => {
        this.#dials--;
        this.errors.push(error);
      },
      onConnected: (dialled) => {
        this.#dials--;
        const transport = new TcpTransport(this.reactor, dialled, { budget: this.budget });
        const handler = {
          onAvailable: () => {
            this.available++;
          },
          onRetired: () => {},
          onClosed: () => {
            this.clients.delete(connection);
          },
        };
        const connection: HttpClientConnection =
          version === 'h2'
            ? new H2ClientConnection(this.reactor, transport, { handler })
            : new Http1ClientConnection(this.reactor, transport, { handler, budget: this.input });
        this.clients.add(connection);
        onConnected(connection);
      },
    });
  }

  /** A proxy for the server at `port`, over connections that are reused; returns its own port. */
  async proxy(port: number, versions: { readonly down: Version; readonly up: Version }): Promise<number> {
    const spare: HttpClientConnection[] = [];
    // Requests are joined at once, so connections are there beforehand.
    for (let i = 0; i < 8; i++) spare.push(await this.connect(versions.up, port));
    return this.serve(versions.down, (stream, headers, endStream) => {
      const connection = spare.find((each) => each.canOpen);
      if (connection === undefined) throw new Error('No connection upstream is left');
      return new Join(stream, { headers, endStream }, connection).downstream;
    });
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    for (const connection of [...this.servers, ...this.clients]) connection.destroy();
    await pump(
      this.reactor,
      'dials and connections to end',
      () => this.#dials + this.servers.size + this.clients.size === 0,
    );
    const left = this.budget.used + this.input.used + joinerBudget.used;
    this.reactor[Symbol.dispose]();
    if (left > 0) throw new Error(`${left} octets of the budgets were not given back`);
  }
}
