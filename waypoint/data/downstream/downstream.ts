// Connections of clients, whatever listener they came by: what they speak is found out, then they are served as HTTP or
// passed through as bytes. Keeps all of them, for policy changes, draining and the end.

import type { ByteSink, ByteTransport } from '../../../mesh/http/byte-transport.ts';
import type { BufferBudget } from '../../../mesh/io/byte-queue.ts';
import { LiveSet, type LiveSetItem } from '../../../mesh/runtime/live-set.ts';
import type { DetectedProtocol } from './detecting-sink.ts';
import { DetectingSink } from './detecting-sink.ts';
import type { ClientConnection } from '../client-connection.ts';
import type { DestinationView, DestinationViews } from '../destination-view.ts';
import type { Exchange } from '../exchange.ts';
import type { HttpEndpoints } from '../http-endpoints.ts';
import type { Refusal } from '../plane-report.ts';
import type { RequestWorld } from '../request-world.ts';
import type { EndpointDialer } from '../upstream/endpoint-dialer.ts';
import { L4Choices } from '../tcp/l4-choices.ts';
import { TcpConnection } from '../tcp/tcp-connection.ts';
import { expectedProtocol } from './expected-protocol.ts';
import { ServedConnection } from './served-connection.ts';

export interface DownstreamOptions {
  readonly world: RequestWorld;
  readonly views: DestinationViews;
  readonly dialer: EndpointDialer;
  readonly http: HttpEndpoints;
  readonly budget: BufferBudget;
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  /** For the first bytes of a connection that is surely HTTP. */
  readonly headTimeoutMs: number;
  /** A connection or a request has ended. */
  readonly onEnded: () => void;
}

/** A client that says nothing for this long waits for the server to speak, ms. */
const serverFirstMs = 200;

export class Downstream {
  readonly exchanges = new LiveSet<Exchange>();
  #options: DownstreamOptions;
  #detecting = new LiveSet<Detecting>();
  #http = new LiveSet<ServedConnection>();
  #tcp = new LiveSet<TcpConnection>();
  #choices: L4Choices;
  #draining = false;

  constructor(options: DownstreamOptions) {
    this.#options = options;
    this.#choices = new L4Choices(options.world.random);
  }

  get connections(): number {
    return this.#detecting.size + this.#http.size + this.#tcp.size;
  }

  /** @param released told when the connection has ended */
  take(client: ClientConnection, transport: ByteTransport, released: () => void): void {
    const { world, views } = this.#options;
    const view = views.viewFor(world.snapshot, client);
    const expected = expectedProtocol(view);
    if (expected === 'tcp') this.#passThrough(client, { view, transport, released });
    else this.#detect(client, { view, transport, released }, expected);
  }

  /** Asks the policies again about everything that was allowed and is still under way. */
  recheck(): void {
    for (const exchange of this.exchanges.snapshot()) exchange.recheck();
    for (const connection of this.#tcp.snapshot()) connection.recheck();
  }

  /** Looks for requests that do not move; to be called every half of the idle timeout. */
  checkIdle(): void {
    for (const exchange of this.exchanges.snapshot()) exchange.checkIdle();
  }

  /** No further requests; connections end when those under way have. */
  drain(): void {
    this.#draining = true;
    for (const connection of this.#http.snapshot()) connection.drain();
  }

  destroy(reason: string): void {
    for (const exchange of this.exchanges.snapshot()) exchange.cut(503, 'LR', reason);
    for (const side of this.#options.world.sideRequests.snapshot()) side.giveUp();
    for (const connection of this.#http.snapshot()) connection.destroy();
    for (const connection of this.#tcp.snapshot()) connection.cut('LR', reason);
    for (const detecting of this.#detecting.snapshot()) {
      this.#detecting.delete(detecting);
      detecting.transport.destroy();
      detecting.released();
    }
  }

  #detect(client: ClientConnection, accepted: Accepted, expect: 'http' | 'any'): void {
    const { world, headTimeoutMs } = this.#options;
    const { transport, released } = accepted;
    const detecting: Detecting = { place: -1, transport, released };
    this.#detecting.add(detecting);
    const sink = new DetectingSink(world.reactor, transport, {
      expect,
      silenceMs: expect === 'http' ? headTimeoutMs : serverFirstMs,
      onDetected: (protocol) => {
        this.#detecting.delete(detecting);
        return this.#serve(protocol, client, accepted);
      },
      onGone: (silentMs) => {
        if (!this.#detecting.delete(detecting)) return;
        if (silentMs !== undefined) world.report.refused(silence(client, silentMs));
        released();
        this.#options.onEnded();
      },
    });
    void sink;
  }

  #serve(protocol: DetectedProtocol, client: ClientConnection, accepted: Accepted): ByteSink {
    if (protocol === 'tcp') return this.#passThrough(client, accepted);
    const { world, views, http, onEnded } = this.#options;
    const connection = new ServedConnection({
      world,
      views,
      client,
      exchanges: {
        add: (exchange) => this.exchanges.add(exchange),
        delete: (exchange) => {
          this.exchanges.delete(exchange);
        },
      },
      onClosed: () => {
        this.#http.delete(connection);
        accepted.released();
        onEnded();
      },
    });
    this.#http.add(connection);
    const { connection: made, sink } = http.server(protocol, accepted.transport, connection);
    connection.http = made;
    // What was detected is still to be given to it: only then is it known to have a request.
    if (this.#draining) world.reactor.atTurnEnd({ onTurnEnd: () => connection.drain() });
    return sink;
  }

  #passThrough(client: ClientConnection, { view, transport, released }: Accepted): ByteSink {
    const { world, dialer, idleTimeoutMs, halfClosedTimeoutMs, onEnded } = this.#options;
    const connection = new TcpConnection({
      world,
      dialer,
      choices: this.#choices,
      client,
      view,
      transport,
      idleTimeoutMs,
      halfClosedTimeoutMs,
      onEnd: () => {
        this.#tcp.delete(connection);
        released();
        onEnded();
      },
    });
    this.#tcp.add(connection);
    transport.attach(connection);
    connection.start();
    return connection;
  }
}

/** Who waits for the server to speak on a port that is taken for HTTP is to find out why nothing comes. */
function silence({ address, port, spiffeId, authority }: ClientConnection, ms: number): Refusal {
  const reason = `no request came in ${ms} ms: the port is taken for HTTP, as its routes, policies or appProtocol say; appProtocol "tcp" would pass the bytes on as they are`;
  return { address, port, spiffeId, authority, status: 0, reason };
}

/** What its client speaks is not known yet. */
interface Detecting extends LiveSetItem {
  readonly transport: ByteTransport;
  readonly released: () => void;
}

interface Accepted {
  readonly view: DestinationView;
  readonly transport: ByteTransport;
  readonly released: () => void;
}
