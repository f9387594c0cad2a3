// What the three HTTP ports of a waypoint show: gathers it from the parts that know, and owns the ports.

import { openProxyPages, type ProxyPages } from '../mesh/proxy/proxy-pages.ts';
import type { Readiness } from '../mesh/proxy/readiness.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { configDump } from './config-dump.ts';
import type { WaypointProgramConfig } from './config.ts';
import type { DataWorker } from './data-worker.ts';
import type { ProcessMetrics } from './telemetry/process-metrics.ts';
import { renderMetrics } from './telemetry/render-metrics.ts';
import { WaypointMetrics } from './telemetry/waypoint-metrics.ts';
import { addLoads, type WorkerLoad } from './worker-load.ts';

export interface WaypointPagesOptions {
  readonly config: WaypointProgramConfig;
  readonly version: string;
  readonly logger: Logger;
  readonly snapshot: () => Snapshot;
  readonly workers: () => readonly DataWorker[];
  readonly certificates: CertificateManager;
  readonly metrics: ProcessMetrics;
  readonly readiness: Readiness;
  readonly quit: () => void;
}

export class WaypointPages {
  readonly #options: WaypointPagesOptions;
  #pages: ProxyPages | undefined;

  constructor(options: WaypointPagesOptions) {
    this.#options = options;
  }

  /** 0 before `open`. */
  get ports(): { readonly admin: number; readonly metrics: number; readonly readiness: number } {
    const pages = this.#pages;
    return {
      admin: pages?.adminPort ?? 0,
      metrics: pages?.metricsPort ?? 0,
      readiness: pages?.readinessPort ?? 0,
    };
  }

  /** Binds all three ports, or none. @throws when one is taken */
  async open(): Promise<void> {
    const { config, metrics, readiness, logger, certificates, quit } = this.#options;
    this.#pages = await openProxyPages({
      title: `Weft waypoint ${config.gateway}`,
      ports: config,
      admin: {
        configDump: () => this.#configDump(),
        certificates: async () => certificates.state(),
        connections: () => this.#loads(),
        quit,
      },
      metrics: [() => this.#requestMetrics(), () => metrics.render()],
      readiness,
      logger,
    });
  }

  async close(): Promise<void> {
    await this.#pages?.close();
  }

  async #requestMetrics(): Promise<string> {
    const snapshots = await Promise.all(this.#options.workers().map((worker) => worker.metrics()));
    return renderMetrics(WaypointMetrics.merge(snapshots), addLoads(await this.#loads()));
  }

  #loads(): Promise<readonly WorkerLoad[]> {
    return Promise.all(this.#options.workers().map((worker) => worker.load()));
  }

  async #configDump(): Promise<object> {
    const { config, version, certificates, snapshot, readiness } = this.#options;
    return configDump({
      version,
      config,
      snapshot: snapshot(),
      certificates: certificates.state(),
      pending: readiness.pending,
      load: addLoads(await this.#loads()),
    });
  }
}
