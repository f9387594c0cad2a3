// What the main thread of a node tunnel counts beside what every proxy does, with Istio's names: DNS and pods. The
// connection series are the data workers' (metrics.ts). One instance a process; names can not collide with theirs.

import { Gauge, Histogram } from 'prom-client';
import { ProxyMetrics } from '../mesh/proxy/proxy-metrics.ts';
import type { CniResult } from './cni-step.ts';
import type { DnsLabels, DnsMetrics } from './dns-proxy.ts';
import { dnsTypes } from './dns-message.ts';

/** As CaptureReport.totals() has it. */
export interface CaptureTotals {
  readonly pods: Readonly<Record<string, number>>;
  readonly earlierConnections: number;
}

const dnsLabelNames = [
  'request_query_type',
  'request_protocol',
  'source_canonical_service',
  'source_canonical_revision',
] as const;

/** Types with a name of their own in labels; others are `OTHER`, so that a client can not make series at will. */
const typeNames: ReadonlyMap<number, string> = new Map([
  ...Object.entries(dnsTypes).map(([name, type]) => [type, name] as const),
  [2, 'NS'],
  [5, 'CNAME'],
  [6, 'SOA'],
  [12, 'PTR'],
  [15, 'MX'],
  [16, 'TXT'],
  [64, 'SVCB'],
  [65, 'HTTPS'],
  [255, 'ANY'],
]);

export class NodeMetrics extends ProxyMetrics implements DnsMetrics {
  readonly #dns = {
    requests: this.counter('istio_dns_requests', 'DNS requests', dnsLabelNames),
    upstreamRequests: this.counter('istio_dns_upstream_requests', 'DNS requests forwarded', dnsLabelNames),
    upstreamFailures: this.counter(
      'istio_dns_upstream_failures',
      'Forwarded DNS requests without a reply',
      dnsLabelNames,
    ),
    upstreamDuration: new Histogram({
      name: 'istio_dns_upstream_request_duration_seconds',
      help: 'Time of forwarded DNS requests',
      labelNames: [...dnsLabelNames],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 5],
      registers: [this.registry],
    }),
  };
  readonly #pods = {
    active: this.gauge('workload_manager_active_proxy_count', 'Pods served'),
    pending: this.gauge('workload_manager_pending_proxy_count', 'Pods waiting to be served'),
    started: this.counter('workload_manager_proxies_started', 'Pods that began to be served', []),
    stopped: this.counter('workload_manager_proxies_stopped', 'Pods that ended to be served', []),
  };

  readonly #capture = {
    proofs: this.counter('weft_self_probes', 'Proofs of capture through the namespaces of pods', ['result']),
    repairs: this.counter('weft_capture_repairs', 'Captures that were made anew after a bad proof', []),
  };

  readonly #cni = {
    requests: this.counter('weft_cni_requests', 'Questions of the CNI plugin', ['command', 'result']),
    chained: this.gauge('weft_cni_chained', "1: the CNI plugin is in the node's chain"),
  };

  constructor({ version }: { readonly version: string }) {
    super({ component: 'ztunnel', version });
  }

  /** For the self-probes. */
  readonly proofs = {
    probed: (result: 'proved' | 'bypassed' | 'failed' | 'impossible') => this.#capture.proofs.inc({ result }),
    repaired: () => this.#capture.repairs.inc(),
  };

  /** Pods by state and connections that are older than the capture, read at each scrape. Once. */
  showCaptures(read: () => CaptureTotals): void {
    new Gauge({
      name: 'weft_capture_pods',
      help: 'Pods of this node by the state of their capture',
      labelNames: ['state'],
      registers: [this.registry],
      collect() {
        for (const [state, count] of Object.entries(read().pods)) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'weft_earlier_connections',
      help: 'Open connections that are older than the capture of their pod, which the mesh does not touch',
      registers: [this.registry],
      collect() {
        this.set(read().earlierConnections);
      },
    });
  }

  request(labels: DnsLabels): void {
    this.#dns.requests.inc(dnsLabels(labels));
  }

  upstreamRequest(labels: DnsLabels): void {
    this.#dns.upstreamRequests.inc(dnsLabels(labels));
  }

  upstreamFailure(labels: DnsLabels): void {
    this.#dns.upstreamFailures.inc(dnsLabels(labels));
  }

  upstreamDuration(labels: DnsLabels, seconds: number): void {
    this.#dns.upstreamDuration.observe(dnsLabels(labels), seconds);
  }

  cniRequest(command: string, result: CniResult): void {
    this.#cni.requests.inc({ command, result });
  }

  cniChained(chained: boolean): void {
    this.#cni.chained.set(chained ? 1 : 0);
  }

  podStarted(): void {
    this.#pods.started.inc();
    this.#pods.active.inc();
  }

  podStopped(): void {
    this.#pods.stopped.inc();
    this.#pods.active.dec();
  }

  podsPending(count: number): void {
    this.#pods.pending.set(count);
  }
}

function dnsLabels({ type, protocol, client }: DnsLabels): Record<(typeof dnsLabelNames)[number], string> {
  return {
    request_query_type: typeNames.get(type) ?? 'OTHER',
    request_protocol: protocol,
    source_canonical_service: client?.canonicalName || 'unknown',
    source_canonical_revision: client?.canonicalRevision || 'unknown',
  };
}
