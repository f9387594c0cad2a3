// A waypoint's series as OpenMetrics text, on the main thread, from the merged snapshots of its workers.

import { OpenMetricsText } from '../../mesh/telemetry/open-metrics.ts';
import { formatHistogram, type Histogram } from './histogram.ts';
import type { ConnectionSeries, WaypointMetricsSnapshot } from './waypoint-metrics.ts';
import type { WorkerLoad } from '../worker-load.ts';

/** The families of a snapshot, without the end line. */
export function renderMetrics(metrics: WaypointMetricsSnapshot, load: WorkerLoad): string {
  return [renderRequests(metrics), renderConnections(metrics), renderOwn(metrics, load)].join('');
}

function renderRequests({ requests }: WaypointMetricsSnapshot): string {
  const text = new OpenMetricsText();
  text.family('istio_requests', 'counter', 'Requests');
  for (const one of requests) text.sample(one.labels, one.requests);
  const messages = requests.filter(({ grpc }) => grpc);
  text.family('istio_request_messages', 'counter', 'gRPC messages from clients');
  for (const one of messages) text.sample(one.labels, one.requestMessages);
  text.family('istio_response_messages', 'counter', 'gRPC messages to clients');
  for (const one of messages) text.sample(one.labels, one.responseMessages);
  return [
    text.toString(),
    histograms(
      'istio_request_duration_milliseconds',
      'Time from the head of a request to the end of its response',
      [requests, ({ duration }) => duration],
    ),
    histograms('istio_request_bytes', 'Bytes of request bodies', [requests, (one) => one.requestBytes]),
    histograms('istio_response_bytes', 'Bytes of response bodies', [requests, (one) => one.responseBytes]),
  ].join('');
}

function renderConnections({ connections }: WaypointMetricsSnapshot): string {
  const text = new OpenMetricsText();
  const simple = (name: string, help: string, valueOf: (one: ConnectionSeries) => number): void => {
    text.family(name, 'counter', help);
    for (const one of connections) {
      if (one.opened > 0) text.sample(`${one.labels},response_flags="-"`, valueOf(one));
    }
  };
  const byFlag = (
    name: string,
    help: string,
    valuesOf: (one: ConnectionSeries) => ConnectionSeries['closed'],
  ): void => {
    text.family(name, 'counter', help);
    for (const one of connections) {
      for (const [flag, value] of valuesOf(one))
        text.sample(`${one.labels},response_flags="${flag || '-'}"`, value);
    }
  };
  simple('istio_tcp_connections_opened', 'TCP connections opened', (one) => one.opened);
  byFlag('istio_tcp_connections_closed', 'TCP connections closed', (one) => one.closed);
  byFlag('istio_tcp_connections_failed', 'TCP connections that were never opened', (one) => one.failed);
  simple('istio_tcp_received_bytes', 'Bytes from clients to servers', (one) => one.received);
  simple('istio_tcp_sent_bytes', 'Bytes from servers to clients', (one) => one.sent);
  return text.toString();
}

function renderOwn(metrics: WaypointMetricsSnapshot, load: WorkerLoad): string {
  const { routes, refused, overflowed } = metrics;
  const text = new OpenMetricsText();
  text.family('weft_route_requests', 'counter', 'Requests by route rule and backend');
  for (const one of routes) text.sample(one.labels, one.requests);
  text.family('weft_route_retries', 'counter', 'Tries after the first ones, by route rule and backend');
  for (const one of routes) if (one.retries > 0) text.sample(one.labels, one.retries);
  text.family(
    'weft_waypoint_refused',
    'counter',
    'Tunnels and connections refused, by status; 0 no handshake',
  );
  for (const [status, value] of refused) text.sample(`status="${status}"`, value);
  text.family('weft_waypoint_connections', 'gauge', "Clients' connections open now");
  text.sample('', load.connections);
  text.family('weft_waypoint_requests', 'gauge', 'Requests under way now');
  text.sample('', load.requests);
  text.family('weft_waypoint_upstream_connections', 'gauge', 'Connections to endpoints open now');
  text.sample('', load.upstreamConnections);
  text.family('weft_waypoint_upstream_tunnels', 'gauge', 'Tunnels to endpoints open now');
  text.sample('', load.upstreamTunnels);
  text.family('weft_waypoint_ejected_endpoints', 'gauge', 'Endpoints ejected for their failures now');
  text.sample('', load.ejections.filter(({ state }) => state === 'ejected').length);
  text.family('weft_metric_series_overflow', 'counter', 'Label sets counted without labels: too many series');
  text.sample('', overflowed);
  const durations = histograms(
    'weft_route_request_duration_milliseconds',
    'Durations by route rule and backend',
    [routes, ({ duration }) => duration],
  );
  return `${text.toString()}${durations}`;
}

function histograms<S extends { readonly labels: string }>(
  name: string,
  help: string,
  [series, histogramOf]: readonly [readonly S[], (one: S) => Histogram],
): string {
  const samples = series.map((one) => formatHistogram(name, one.labels, histogramOf(one)));
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${samples.join('')}`;
}
