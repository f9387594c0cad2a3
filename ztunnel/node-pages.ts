// The three HTTP ports of the node tunnel: admin on loopback, metrics and readiness on the node. Only puts together
// what others know; owns the listeners.

import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { HttpEndpoint } from '../mesh/telemetry/http-endpoint.ts';
import { isLogLevel, type Logger, logLevel, setLogLevel } from '../mesh/runtime/logger.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { type AdminSources, openAdminServer } from '../mesh/proxy/admin-pages.ts';
import { configDump } from './config-dump.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { DataWorker } from './data-worker.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';
import { openMetricsServer } from '../mesh/proxy/metrics-server.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { PodState } from './pod-manager.ts';
import { openReadinessServer, type Readiness } from '../mesh/proxy/readiness.ts';

export interface NodePagesOptions {
  readonly config: ZtunnelConfig;
  readonly version: string;
  readonly logger: Logger;
  readonly snapshot: () => Snapshot;
  readonly workers: readonly DataWorker[];
  readonly certificates: CertificateManager;
  readonly metrics: NodeMetrics;
  readonly pods: () => readonly PodState[];
  readonly readiness: Readiness;
  readonly quit: () => void;
}

export class NodePages {
  #options: NodePagesOptions;
  #endpoints: HttpEndpoint[] = [];

  constructor(options: NodePagesOptions) {
    this.#options = options;
  }

  /** Binds all three ports, or none. @throws when one is taken */
  async open(): Promise<void> {
    const { config, logger, metrics, workers, readiness } = this.#options;
    const onError = (error: Error): void => logger.warn({ err: error }, 'a page failed');
    const connectionMetrics = async (): Promise<string> =>
      renderMetrics(ConnectionMetrics.merge(await Promise.all(workers.map((worker) => worker.metrics()))));
    const sources = [connectionMetrics, () => metrics.render()];
    // For scrapers and probes outside the node's processes: on every address.
    const at = (port: 'metrics-port' | 'readiness-port') => ({ port: config[port], onError });
    try {
      this.#endpoints.push(
        await openAdminServer(this.#adminSources(), {
          title: 'Weft node tunnel',
          port: config['admin-port'],
          onError,
        }),
      );
      this.#endpoints.push(await openMetricsServer(sources, at('metrics-port')));
      this.#endpoints.push(await openReadinessServer(readiness, at('readiness-port')));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#endpoints.splice(0).map((endpoint) => endpoint.close()));
  }

  async #connections(): Promise<readonly ConnectionSummary[]> {
    return (await Promise.all(this.#options.workers.map((worker) => worker.connections()))).flat();
  }

  #adminSources(): AdminSources {
    const { config, version, certificates, snapshot, pods, quit } = this.#options;
    const initialLevel = logLevel();
    return {
      configDump: async () =>
        configDump({
          version,
          config,
          snapshot: snapshot(),
          certificates: certificates.state(),
          pods: pods(),
          connections: await this.#connections(),
        }),
      certificates: async () => certificates.state(),
      connections: () => this.#connections(),
      logLevel,
      setLogLevel: (level) => {
        if (!isLogLevel(level)) return false;
        setLogLevel(level);
        return true;
      },
      resetLogLevel: () => setLogLevel(initialLevel),
      quit,
    };
  }
}
