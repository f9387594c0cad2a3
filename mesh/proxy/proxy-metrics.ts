// What the main thread of every proxy counts, with Istio's names: xDS, build, and the process itself. A program adds its
// own to the registry; the series of connections and requests are its data workers'.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { openMetricsEnd } from '../telemetry/open-metrics.ts';
import type { XdsClientMetrics } from '../xds/client.ts';

/**
 * The client library samples the event loop's delay with a timer of 10 ms: a hundred wake-ups a second, each in the way of
 * the data worker that shares the core, to watch a thread that carries no traffic. `nodejs_eventloop_lag_seconds`, taken
 * when somebody asks, stays.
 */
const sampledLag = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];
const neverMs = 2 ** 31 - 1;

export interface ProxyMetricsOptions {
  /** As in `istio_build`. */
  readonly component: string;
  readonly version: string;
}

export class ProxyMetrics {
  readonly #registry = new Registry();
  readonly #terminations = this.counter('istio_xds_connection_terminations', 'xDS streams that ended', [
    'reason',
  ]);
  readonly #messages = this.counter('istio_xds_message', 'xDS messages received', ['url']);
  readonly #bytes = this.counter('istio_xds_message_bytes', 'Bytes of xDS messages received', ['url']);

  constructor({ component, version }: ProxyMetricsOptions) {
    this.#registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: neverMs });
    for (const part of sampledLag) this.#registry.removeSingleMetric(`nodejs_eventloop_lag_${part}_seconds`);
    new Gauge({
      name: 'istio_build',
      help: 'Component and version',
      labelNames: ['component', 'tag'],
      registers: [this.#registry],
    }).set({ component, tag: version }, 1);
  }

  /** For metrics of the program. */
  get registry(): Registry {
    return this.#registry;
  }

  /** For the discovery client. `reason` and `typeUrl` are one of a fixed set each: they are labels. */
  readonly xds: XdsClientMetrics = {
    message: (url, bytes) => {
      this.#messages.inc({ url });
      this.#bytes.inc({ url }, bytes);
    },
    terminated: (reason) => this.#terminations.inc({ reason }),
  };

  counter<T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.#registry] });
  }

  /** A MetricsSource. */
  async render(): Promise<string> {
    const text = await this.#registry.metrics();
    return text.endsWith(openMetricsEnd) ? text.slice(0, -openMetricsEnd.length) : text;
  }
}
