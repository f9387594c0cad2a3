// Tunables of a waypoint's data path and their defaults. Where they come from is config.ts's business.

import type { LivenessOptions } from '../../mesh/hbone/tunnel-settings.ts';

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
