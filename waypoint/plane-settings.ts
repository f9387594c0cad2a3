// The settings of the program as the data plane takes them.

import type { WaypointProgramConfig } from './config.ts';
import type { WaypointSettings } from './data/waypoint-settings.ts';

export function planeSettings(
  config: WaypointProgramConfig,
  { trustDomain }: { readonly trustDomain: string },
): WaypointSettings {
  return {
    connectTimeoutMs: config['connect-timeout-ms'],
    handshakeTimeoutMs: config['handshake-timeout-ms'],
    idleTimeoutMs: config['idle-timeout-ms'],
    halfClosedTimeoutMs: config['half-closed-timeout-ms'],
    keepAliveTimeoutMs: config['keep-alive-timeout-ms'],
    headTimeoutMs: config['head-timeout-ms'],
    upstreamIdleTimeoutMs: config['upstream-idle-timeout-ms'],
    liveness: {
      pingAfterMs: config['ping-after-ms'],
      pingTimeoutMs: config['ping-timeout-ms'],
      unusedReleaseMs: config['unused-release-ms'],
    },
    workers: config.workers,
    maxConnections: config['max-connections'],
    maxConnectionsPerEndpoint: config['max-connections-per-endpoint'],
    bufferBudgetBytes: config['buffer-budget-mib'] * 1024 * 1024,
    network: config.network ?? '',
    trustDomain,
  };
}
