// temporary: replaced when the admin servers land
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { FlowMaps } from '../bpf/flow-maps.ts';
import type { Redirect } from '../bpf/redirect.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import type { ZtunnelConfig } from './config.ts';
import type { DataWorker } from './data-worker.ts';
import { configDump } from './config-dump.ts';
import { DnsProxy } from './dns-proxy.ts';
import type { PodDns, PodState } from './pod-manager.ts';
import { parseNameservers } from './resolv-conf.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';

export class NodePages {
  readonly dns: PodDns;
  #proxy: DnsProxy;
  #options: any;
  #servers: http.Server[] = [];
  constructor(options: {
    config: ZtunnelConfig;
    logger: Logger;
    snapshot: () => Snapshot;
    workers: readonly DataWorker[];
    certificates: CertificateManager;
    redirect: Redirect;
    pods: () => readonly PodState[];
    pending: () => string[];
    quit: () => void;
  }) {
    this.#options = options;
    const flowMaps = new FlowMaps(options.redirect.fds);
    const none = () => {};
    this.#proxy = new DnsProxy({
      snapshot: options.snapshot,
      clock: systemClock,
      exempt: (fd) => flowMaps.exempt(fd),
      metrics: { request: none, upstreamRequest: none, upstreamFailure: none, upstreamDuration: none },
      onError: (pod, error) => options.logger.warn({ pod: pod.name, err: error }, 'dns'),
    });
    this.dns = {
      addPod: (pod) => {
        let text = '';
        for (const path of [`/etc/netns/${pod.netns.split('/').pop()}/resolv.conf`, '/etc/resolv.conf']) {
          try {
            text = readFileSync(path, 'utf8');
            break;
          } catch {}
        }
        this.#proxy.addPod({ pod, nameservers: parseNameservers(text) });
      },
      removePod: (uid) => this.#proxy.removePod(uid),
    };
  }
  async open(): Promise<void> {
    const listen = (port: number, host: string, handler: http.RequestListener) =>
      new Promise<void>((resolve) => {
        const s = http.createServer(handler);
        this.#servers.push(s);
        s.listen(port, host, resolve);
      });
    await listen(15021, '0.0.0.0', (_req, res) => {
      const p = this.#options.pending();
      res.statusCode = p.length === 0 ? 200 : 500;
      res.end(p.length === 0 ? 'ready' : p.join('\n'));
    });
    await listen(15020, '0.0.0.0', async (_req, res) => {
      const m = await Promise.all(this.#options.workers.map((w: DataWorker) => w.metrics()));
      res.end(renderMetrics(ConnectionMetrics.merge(m)));
    });
    await listen(15000, '127.0.0.1', async (_req, res) => {
      res.end(
        JSON.stringify(
          configDump({
            version: '0.1.0',
            config: this.#options.config,
            snapshot: this.#options.snapshot(),
            certificates: this.#options.certificates.state(),
            pods: this.#options.pods(),
            connections: (
              await Promise.all(this.#options.workers.map((w: DataWorker) => w.connections()))
            ).flat() as any,
          }),
        ),
      );
    });
  }
  async close(): Promise<void> {
    for (const s of this.#servers) {
      s.closeAllConnections();
      s.close();
    }
    this.#proxy.close();
  }
}
