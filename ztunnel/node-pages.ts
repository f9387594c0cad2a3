// What the three HTTP ports of the node tunnel show: gathers it from the parts that know, and owns the ports.

import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { openProxyPages, type ProxyPages } from '../mesh/proxy/proxy-pages.ts';
import type { Readiness } from '../mesh/proxy/readiness.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { configDump } from './config-dump.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { DataWorker } from './data-worker.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { PodState } from './pod-manager.ts';

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
  #pages: ProxyPages | undefined;

  constructor(options: NodePagesOptions) {
    this.#options = options;
  }

  /** Binds all three ports, or none. @throws when one is taken */
  async open(): Promise<void> {
    const { config, logger, metrics, workers, readiness, certificates, quit } = this.#options;
    const connectionMetrics = async (): Promise<string> =>
      renderMetrics(ConnectionMetrics.merge(await Promise.all(workers.map((worker) => worker.metrics()))));
    this.#pages = await openProxyPages({
      title: 'Weft node tunnel',
      ports: config,
      admin: {
        configDump: () => this.#configDump(),
        certificates: async () => certificates.state(),
        connections: () => this.#connections(),
        quit,
      },
      metrics: [connectionMetrics, () => metrics.render()],
      readiness,
      logger,
    });
  }

  async close(): Promise<void> {
    await this.#pages?.close();
  }

  async #connections(): Promise<readonly ConnectionSummary[]> {
    return (await Promise.all(this.#options.workers.map((worker) => worker.connections()))).flat();
  }

  async #configDump(): Promise<object> {
    const { config, version, certificates, snapshot, pods } = this.#options;
    return configDump({
      version,
      config,
      snapshot: snapshot(),
      certificates: certificates.state(),
      pods: pods(),
      connections: await this.#connections(),
    });
  }
}
