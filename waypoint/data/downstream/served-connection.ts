// One HTTP connection of a client: makes an exchange of each request and keeps them until they end. Invariant: every
// exchange that was begun is in the table of the worker until its record was reported.

import { type Header, headerValue } from '../../../mesh/h2/header.ts';
import type { HttpServerConnection, HttpServerHandler } from '../../../mesh/http/connection.ts';
import { parseRequestHead, type RequestHead } from '../../../mesh/http/message.ts';
import type { LiveSetItem } from '../../../mesh/runtime/live-set.ts';
import { normalizeTarget } from '../../../mesh/http/path.ts';
import type { HttpStream, HttpStreamHandler } from '../../../mesh/http/stream.ts';
import type { ClientConnection } from '../client-connection.ts';
import type { DestinationView, DestinationViews } from '../destination-view.ts';
import { Exchange } from '../exchange.ts';
import { requestIdOf } from '../forward-headers.ts';
import { isGrpcContentType } from '../grpc.ts';
import { startRequest } from '../request-path.ts';
import type { RequestRecord } from '../request-record.ts';
import type { RequestWorld } from '../request-world.ts';

/** All requests of a worker that are under way. */
export interface ExchangeTable {
  add(exchange: Exchange): void;
  delete(exchange: Exchange): void;
}

export interface ServedConnectionOptions {
  readonly world: RequestWorld;
  readonly views: DestinationViews;
  readonly exchanges: ExchangeTable;
  readonly client: ClientConnection;
  /** Once. */
  readonly onClosed: (connection: ServedConnection) => void;
}

export class ServedConnection implements HttpServerHandler, LiveSetItem {
  place = -1;
  /** Set by whoever makes it, at once. */
  http!: HttpServerConnection;
  #options: ServedConnectionOptions;
  #view: DestinationView | undefined;
  #draining = false;
  readonly #onEnd = (exchange: Exchange): void => this.#ended(exchange);

  constructor(options: ServedConnectionOptions) {
    this.#options = options;
  }

  onRequest(stream: HttpStream, headers: readonly Header[], endStream: boolean): HttpStreamHandler {
    const { world, client, exchanges } = this.#options;
    const request = parseRequestHead(headers);
    const view = this.#viewNow();
    const record = this.#newRecord(request, view);
    const exchange = new Exchange(world, {
      stream,
      client,
      view,
      head: normalized(request, view),
      record,
      endStream,
      onEnd: this.#onEnd,
    });
    exchanges.add(exchange);
    exchange.traceHeaders = world.report.started(record);
    startRequest(exchange);
    // What was asked for is no longer ours: the client is to find out where it is served now.
    if (!view.served) this.drain();
    return exchange;
  }

  onRefused(status: number, reason: string): void {
    const { world, client } = this.#options;
    const { address, port, spiffeId, authority } = client;
    world.report.refused({ address, port, spiffeId, authority, status, reason });
  }

  onClosed(): void {
    this.#options.onClosed(this);
  }

  /** No further requests; ends when those under way have. Idempotent. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.http.drain();
  }

  /** Ends at once. Idempotent. */
  destroy(): void {
    this.http.destroy();
  }

  #viewNow(): DestinationView {
    const { world, views, client } = this.#options;
    const { snapshot } = world;
    const known = this.#view;
    if (known !== undefined && known.generation === snapshot.generation) return known;
    const view = views.viewFor(snapshot, client);
    this.#view = view;
    return view;
  }

  #newRecord(request: RequestHead, view: DestinationView): RequestRecord {
    const { world, client } = this.#options;
    return {
      connection: client,
      version: this.http.version,
      startedAt: world.clock.now(),
      startedMs: world.now(),
      request,
      requestId: requestIdOf(request.headers),
      grpc: isGrpcContentType(headerValue(request.headers, 'content-type')),
      route: undefined,
      service: view.service,
      backend: undefined,
      backendPort: 0,
      endpoint: undefined,
      endpointAddress: undefined,
      endpointPort: 0,
      requestPrincipal: '',
      attempts: 0,
      status: 0,
      grpcStatus: undefined,
      flag: '',
      details: '',
      requestBytes: 0,
      responseBytes: 0,
      requestMessages: 0,
      responseMessages: 0,
      durationMs: 0,
      responseMs: -1,
      audits: noAudits,
      trace: undefined,
    };
  }

  #ended(exchange: Exchange): void {
    const { world, exchanges } = this.#options;
    exchanges.delete(exchange);
    world.report.request(exchange.record);
  }
}

const noAudits: RequestRecord['audits'] = Object.freeze([]);

/**
 * What policies and routes look at is what the application gets: one reading of the path, and a host in any case, which
 * only HTTP/1.0 can leave out.
 */
function normalized(request: RequestHead, { service, destination }: DestinationView): RequestHead {
  const path = normalizeTarget(request.path);
  const { authority } = request;
  if (path === request.path && authority !== '') return request;
  return { ...request, path, authority: authority === '' ? (service?.hostname ?? destination) : authority };
}
