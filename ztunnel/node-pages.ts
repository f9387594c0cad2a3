// What the three HTTP ports of the node tunnel show: gathers it from the parts that know, and owns the ports.

import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { openProxyPages, type ProxyPages } from '../mesh/proxy/proxy-pages.ts';
import type { Readiness } from '../mesh/proxy/readiness.ts';
import type { PodCapture } from '../mesh/node-report/node-report.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import { configDump } from './config-dump.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { DataWorker } from './data-worker.ts';
import { renderKubelet } from './kubelet-metrics.ts';
import type { KubeletWatch } from './kubelet-watch.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { SameNode } from './same-node.ts';
import { renderSameNode } from './same-node-metrics.ts';
import type { SameNodeReport } from './same-node-report.ts';

export interface NodePagesOptions {
  readonly config: ZtunnelConfig;
  readonly version: string;
  readonly logger: Logger;
  readonly snapshot: () => Snapshot;
  readonly workers: readonly DataWorker[];
  readonly certificates: CertificateManager;
  readonly metrics: NodeMetrics;
  readonly pods: () => readonly PodCapture[];
  /** Absent where every connection goes through the proxy. */
  readonly sameNode: SameNode | undefined;
  readonly sameNodeReport: SameNodeReport | undefined;
  readonly kubelet: KubeletWatch;
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
    const { sameNode, sameNodeReport, kubelet } = this.#options;
    const connectionMetrics = async (): Promise<string> => {
      sameNode?.drain();
      const own = sameNodeReport === undefined ? [] : [sameNodeReport.metrics()];
      const others = await Promise.all(workers.map((worker) => worker.metrics()));
      return renderMetrics(ConnectionMetrics.merge([...own, ...others])) + renderSameNode(sameNode?.state());
    };
    this.#pages = await openProxyPages({
      title: 'Weft node tunnel',
      ports: config,
      admin: {
        configDump: () => this.#configDump(),
        certificates: async () => certificates.state(),
        connections: () => this.#connections(),
        quit,
      },
      metrics: [connectionMetrics, async () => renderKubelet(kubelet), () => metrics.render()],
      readiness,
      logger,
    });
  }

  async close(): Promise<void> {
    await this.#pages?.close();
  }

  async #connections(): Promise<readonly ConnectionSummary[]> {
    const { workers, sameNode } = this.#options;
    const proxied = (await Promise.all(workers.map((worker) => worker.connections()))).flat();
    return [...proxied, ...(sameNode?.connections(10_000) ?? [])];
  }

  async #configDump(): Promise<object> {
    const { config, version, certificates, snapshot, pods, kubelet } = this.#options;
    return configDump({
      version,
      config,
      snapshot: snapshot(),
      certificates: certificates.state(),
      pods: pods(),
      kubelets: kubelet.state(),
      kubeletProbes: kubelet.probes(),
      connections: await this.#connections(),
    });
  }
}
