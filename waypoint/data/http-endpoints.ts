// Makes HTTP connections of either version and either end, with this worker's limits. The one place of the data plane
// that knows the classes behind the interfaces.

import { H2ClientConnection, H2ServerConnection } from '../../mesh/http/h2-connection.ts';
import type { ByteSink, ByteTransport } from '../../mesh/http/byte-transport.ts';
import { Http1ClientConnection } from '../../mesh/http/client-connection.ts';
import type {
  HttpClientConnection,
  HttpClientHandler,
  HttpServerConnection,
  HttpServerHandler,
} from '../../mesh/http/connection.ts';
import type { InputBudget } from '../../mesh/http/head-gatherer.ts';
import { Http1ServerConnection } from '../../mesh/http/server-connection.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import type { UpstreamProtocol } from './upstream/endpoint-address.ts';

export interface HttpEndpointSettings {
  readonly headTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly bufferBudgetBytes: number;
}

export class HttpEndpoints {
  #reactor: Reactor;
  #settings: HttpEndpointSettings;
  #budget: InputBudget;

  constructor(reactor: Reactor, settings: HttpEndpointSettings) {
    this.#reactor = reactor;
    this.#settings = settings;
    // Unfinished heads are small change beside bodies.
    this.#budget = { used: 0, limit: Math.ceil(settings.bufferBudgetBytes / 8) };
  }

  /** `sink` gets bytes that were read before. */
  server(
    protocol: 'http1' | 'http2',
    transport: ByteTransport,
    handler: HttpServerHandler,
  ): { readonly connection: HttpServerConnection; readonly sink: ByteSink } {
    const { headTimeoutMs, keepAliveTimeoutMs } = this.#settings;
    if (protocol === 'http2') {
      const connection = new H2ServerConnection(this.#reactor, transport, {
        handler,
        idleTimeoutMs: keepAliveTimeoutMs,
      });
      return { connection, sink: connection };
    }
    const connection = new Http1ServerConnection(this.#reactor, transport, {
      scheme: 'http',
      handler,
      budget: this.#budget,
      settings: { headTimeoutMs, idleTimeoutMs: keepAliveTimeoutMs },
    });
    return { connection, sink: connection };
  }

  client(
    protocol: UpstreamProtocol,
    transport: ByteTransport,
    handler: HttpClientHandler,
  ): HttpClientConnection {
    if (protocol === 'http2') return new H2ClientConnection(this.#reactor, transport, { handler });
    return new Http1ClientConnection(this.#reactor, transport, { handler, budget: this.#budget });
  }
}
