// The connection series of a data worker, with Istio's names and labels (WIRE.md 7). A series is found by its label
// text once a connection; after that counters are plain numbers. Bounded: beyond `maxSeries` all further label
// combinations share one overflow series. Rendering happens on the main thread, from plain snapshots.
// Through a waypoint each hop is a series of its own: the client's node counts client to waypoint (reporter source, with
// the Service that was asked for), the server's node waypoint to server (reporter destination). What goes from client
// to server is the waypoint's to count (reporter waypoint), so no byte is in two series of one reporter.

import { formatLabels, OpenMetricsText } from '../mesh/telemetry/open-metrics.ts';
import { overflowLabel, uniformSideLabels, unknownLabel } from '../mesh/telemetry/workload-labels.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';
import { LabelTexts, reporterOf } from './label-texts.ts';

const flags: readonly ResponseFlag[] = [
  '-',
  'DENY',
  'CONNECT',
  'TLS_FAILURE',
  'H2_HANDSHAKE_FAILURE',
  'NETWORK_POLICY',
  'IDENTITY_ERROR',
  'CERT_REVOKED',
  'UH',
];

export interface Series {
  /** Formatted labels without `response_flags`; the key. */
  readonly labels: string;
  opened: number;
  /** Client to server, bytes, whoever reports. */
  received: number;
  /** Server to client, bytes. */
  sent: number;
  /** By response flag, in the order of the flags' list. */
  readonly closed: number[];
  readonly failed: number[];
  /** Of connections past the proxy, whose round trip the kernel knows. */
  measured: number;
  rttSeconds: number;
}

/** Survives a structured clone. */
export interface MetricsSnapshot {
  readonly series: readonly Series[];
  /** Open connections by reporter. */
  readonly socketsOpen: { readonly source: number; readonly destination: number };
  /** Connections counted in the overflow series. */
  readonly overflowed: number;
}

/** About 600 bytes of text each. */
const defaultMaxSeries = 10_000;

export class ConnectionMetrics {
  readonly #maxSeries: number;
  readonly #series = new Map<string, Series>();
  readonly #texts = new LabelTexts();
  readonly #socketsOpen = { source: 0, destination: 0 };
  #overflowed = 0;

  /** @param options.maxSeries label combinations kept, 1 or more; default 10,000 */
  constructor(options?: { readonly maxSeries?: number }) {
    this.#maxSeries = options?.maxSeries ?? defaultMaxSeries;
  }

  opened(info: ConnectionInfo): void {
    if (info.counted !== undefined) return;
    const series = this.#find(info);
    series.opened++;
    info.counted = series;
    this.#socketsOpen[reporterOf(info)]++;
  }

  /** Without `opened` before it this is a no-op. */
  closed(info: ConnectionInfo, end: ConnectionEnd): void {
    const series = info.counted as Series | undefined;
    if (series === undefined) return;
    info.counted = undefined;
    this.#socketsOpen[reporterOf(info)]--;
    series.received += end.received;
    series.sent += end.sent;
    if (end.rttUs !== undefined) {
      series.measured++;
      series.rttSeconds += end.rttUs / 1e6;
    }
    count(series.closed, end.flag);
  }

  /** A connection that was never opened. */
  failed(info: ConnectionInfo, flag: ResponseFlag): void {
    count(this.#find(info).failed, flag);
  }

  snapshot(): MetricsSnapshot {
    return {
      series: [...this.#series.values()],
      socketsOpen: { ...this.#socketsOpen },
      overflowed: this.#overflowed,
    };
  }

  /** The sum of several workers' series. */
  static merge(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
    const merged = new Map<string, Series>();
    const socketsOpen = { source: 0, destination: 0 };
    let overflowed = 0;
    for (const snapshot of snapshots) {
      socketsOpen.source += snapshot.socketsOpen.source;
      socketsOpen.destination += snapshot.socketsOpen.destination;
      overflowed += snapshot.overflowed;
      for (const series of snapshot.series) addSeries(merged, series);
    }
    return { series: [...merged.values()], socketsOpen, overflowed };
  }

  #find(info: ConnectionInfo): Series {
    let key = info.series?.labels ?? this.#texts.of(info);
    if (info.series !== undefined) info.series.labels = key;
    let series = this.#series.get(key);
    if (series !== undefined) return series;
    if (this.#series.size >= this.#maxSeries) {
      this.#overflowed++;
      key = overflowLabels(reporterOf(info));
      series = this.#series.get(key);
      if (series !== undefined) return series;
    }
    series = emptySeries(key);
    this.#series.set(key, series);
    return series;
  }
}

/** The families of a snapshot, without the end line. */
export function renderMetrics({ series, socketsOpen, overflowed }: MetricsSnapshot): string {
  const text = new OpenMetricsText();
  const simple = (name: string, help: string, valueOf: (one: Series) => number): void => {
    text.family(name, 'counter', help);
    for (const one of series) {
      const value = valueOf(one);
      if (value > 0 || one.opened > 0) text.sample(`${one.labels},response_flags="-"`, value);
    }
  };
  const byFlag = (name: string, help: string, valuesOf: (one: Series) => readonly number[]): void => {
    text.family(name, 'counter', help);
    for (const one of series) {
      for (const [i, value] of valuesOf(one).entries()) {
        if (value > 0) text.sample(`${one.labels},response_flags="${flags[i]}"`, value);
      }
    }
  };
  const measured = (name: string, help: string, valueOf: (one: Series) => number): void => {
    text.family(name, 'counter', help);
    for (const one of series)
      if (one.measured > 0) text.sample(`${one.labels},response_flags="-"`, valueOf(one));
  };
  simple('istio_tcp_connections_opened', 'TCP connections opened', (one) => one.opened);
  byFlag('istio_tcp_connections_closed', 'TCP connections closed', (one) => one.closed);
  byFlag('istio_tcp_connections_failed', 'TCP connections that were never opened', (one) => one.failed);
  simple('istio_tcp_received_bytes', 'Bytes from clients to servers', (one) => one.received);
  simple('istio_tcp_sent_bytes', 'Bytes from servers to clients', (one) => one.sent);
  measured('weft_tcp_rtt_connections', 'Ended connections with a known round trip', (one) => one.measured);
  measured('weft_tcp_rtt_seconds', 'Sum of their round-trip times', (one) => one.rttSeconds);
  text.family('istio_tcp_sockets_open', 'gauge', 'Connections open now');
  text.sample('reporter="source"', socketsOpen.source);
  text.sample('reporter="destination"', socketsOpen.destination);
  text.family(
    'weft_metric_series_overflow',
    'counter',
    'Connections counted without labels: too many series',
  );
  text.sample('', overflowed);
  return text.toString();
}

function count(counters: number[], flag: ResponseFlag): void {
  const index = flags.indexOf(flag);
  counters[index] = (counters[index] ?? 0) + 1;
}

function emptySeries(labels: string): Series {
  const zeros = (): number[] => new Array<number>(flags.length).fill(0);
  return {
    labels,
    opened: 0,
    received: 0,
    sent: 0,
    closed: zeros(),
    failed: zeros(),
    measured: 0,
    rttSeconds: 0,
  };
}

function addSeries(merged: Map<string, Series>, series: Series): void {
  let sum = merged.get(series.labels);
  if (sum === undefined) {
    sum = emptySeries(series.labels);
    merged.set(series.labels, sum);
  }
  sum.opened += series.opened;
  sum.received += series.received;
  sum.sent += series.sent;
  sum.measured += series.measured;
  sum.rttSeconds += series.rttSeconds;
  for (let i = 0; i < flags.length; i++) {
    sum.closed[i] = (sum.closed[i] as number) + (series.closed[i] ?? 0);
    sum.failed[i] = (sum.failed[i] as number) + (series.failed[i] ?? 0);
  }
}

/** All labels are there, as in any other series, so that sums over them keep working. */
function overflowLabels(reporter: 'source' | 'destination'): string {
  const overflow = overflowLabel;
  const rest = formatLabels({
    source_principal: overflow,
    destination_principal: overflow,
    destination_service: overflow,
    destination_service_namespace: overflow,
    destination_service_name: overflow,
    request_protocol: 'tcp',
    connection_security_policy: unknownLabel,
  });
  const both = (['source', 'destination'] as const).map((side) => uniformSideLabels(side, overflow));
  return `reporter="${reporter}",${both.join(',')},${rest}`;
}
