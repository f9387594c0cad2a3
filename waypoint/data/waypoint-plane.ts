// A data worker's world: one reactor, the model as it was last told, one certificate, listeners, and every connection
// and request they carry. Wires the pieces together and applies what the main thread says; the pieces do the work.

import type { LivenessOptions } from '../../mesh/hbone/tunnel-settings.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import type { TlsCredentials } from '../../mesh/io/tls-context.ts';
import type { ModelDelta } from '../../mesh/model/model.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import type { PlaneReport } from './plane-report.ts';

/** Tunables of the data path, after configuration: whole, in range, frozen. */
export interface WaypointSettings {
  /** TCP and tunnel; of a connection to an endpoint. */
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  /** A TCP connection, an upgraded one, or a request without a byte either way for this long is cut; 0 never. */
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  /** A client connection without a request for this long is closed. */
  readonly keepAliveTimeoutMs: number;
  /** Time for a request's head to come in whole. */
  readonly headTimeoutMs: number;
  /** An idle connection to an endpoint is closed after this time. */
  readonly upstreamIdleTimeoutMs: number;
  readonly liveness: LivenessOptions;
  /** Data workers of the waypoint: limits are shared out among them. */
  readonly workers: number;
  /** Client connections, tunnels and streams in tunnels a worker takes. */
  readonly maxConnections: number;
  /** HTTP/1.1 connections to one endpoint from this worker. */
  readonly maxConnectionsPerEndpoint: number;
  /** For what slow readers leave waiting, bytes. */
  readonly bufferBudgetBytes: number;
  /** Network this waypoint is in; `''` the default one. */
  readonly network: string;
  readonly trustDomain: string;
}

export const defaultWaypointSettings: WaypointSettings = Object.freeze({
  connectTimeoutMs: 5_000,
  handshakeTimeoutMs: 5_000,
  idleTimeoutMs: 3_600_000,
  halfClosedTimeoutMs: 60_000,
  keepAliveTimeoutMs: 3_600_000,
  headTimeoutMs: 60_000,
  upstreamIdleTimeoutMs: 60_000,
  liveness: { pingAfterMs: 10_000, pingTimeoutMs: 5_000, unusedReleaseMs: 300_000 },
  workers: 1,
  maxConnections: 50_000,
  maxConnectionsPerEndpoint: 1_024,
  bufferBudgetBytes: 256 * 1024 * 1024,
  network: '',
  trustDomain: 'cluster.local',
});

export interface WaypointPlaneOptions {
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;
  /** In [0, 1); default Math.random. */
  readonly random?: () => number;
  /** Asks for the verification of a token; `answerToken` is to follow. */
  readonly verifyToken?: (job: unknown) => void;
  /** Asks for a name's addresses; `answerHostname` is to follow. */
  readonly lookUp?: (hostname: string) => void;
}

export class WaypointPlane {
  readonly reactor: Reactor;
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;

  constructor(reactor: Reactor, options: WaypointPlaneOptions) {
    this.reactor = reactor;
    this.settings = options.settings;
    this.gateway = options.gateway;
    this.report = options.report;
    this.clock = options.clock;
  }

  get snapshot(): Snapshot {
    throw new Error('Not implemented yet');
  }

  /** Connections, tunnels and requests under way. */
  get active(): { readonly connections: number; readonly requests: number } {
    throw new Error('Not implemented yet');
  }

  applyModel(_delta: ModelDelta): void {}

  /** The waypoint's own certificate, first and each time it is renewed. @throws IoError tls-credentials-invalid */
  setCertificate(_spiffeId: SpiffeId, _credentials: TlsCredentials): void {}

  /** Serves tunnels on a listening socket; takes ownership of `fd`. */
  listenHbone(_fd: number): void {}

  /** Serves plain connections for one port of a service; takes ownership of `fd`. */
  listenPlain(_listener: {
    readonly fd: number;
    readonly service: ServiceKey;
    readonly port: number;
  }): void {}

  /** Accepts nothing more: GOAWAY and Connection: close; `onIdle` once the last connection has ended. */
  drain(_onIdle: () => void): void {}

  /** Drops everything. */
  close(_reason: string): void {}
}
