// The series of a data worker of a waypoint: requests with Istio's names and labels, TCP connections, and series of our own
// by route and backend, so that Istio's dashboards keep their cardinality. Counting costs a request one lookup. Bounded:
// beyond `maxSeries` all further label sets of a family share one overflow series. Rendering is render-metrics.ts, on the
// main thread, from plain snapshots.

import type { ConnectionRecord, RequestRecord, ResponseFlag } from '../data/request-record.ts';
import { addHistogram, type Histogram, makeHistogram, observe } from './histogram.ts';
import {
  connectionKey,
  connectionLabels,
  overflowLabels,
  overflowRouteLabels,
  requestKey,
  requestLabels,
  routeLabels,
} from './metric-labels.ts';

export interface RequestSeries {
  readonly labels: string;
  readonly grpc: boolean;
  /** Milliseconds; its count is the number of requests. */
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
  requests: number;
  requestMessages: number;
  responseMessages: number;
}

export interface RouteSeries {
  readonly labels: string;
  readonly duration: Histogram;
  requests: number;
  /** Tries after the first ones. */
  retries: number;
}

export interface ConnectionSeries {
  readonly labels: string;
  opened: number;
  /** Client to server, bytes. */
  received: number;
  /** Server to client, bytes. */
  sent: number;
  /** By response flag; `''` is an orderly end. */
  readonly closed: Map<ResponseFlag, number>;
  readonly failed: Map<ResponseFlag, number>;
}

/** Survives a structured clone. */
export interface WaypointMetricsSnapshot {
  readonly requests: readonly RequestSeries[];
  readonly routes: readonly RouteSeries[];
  readonly connections: readonly ConnectionSeries[];
  /** Tunnels and connections that got nowhere, by the status they were answered with; 0 a failed handshake. */
  readonly refused: ReadonlyMap<number, number>;
  /** Requests and connections counted in overflow series. */
  readonly overflowed: number;
}

/** A request series is about 45 KB of text on a scrape. */
const defaultMaxSeries = 2_000;
/** Keys by which series are found; a changed object has a new one, so they are more than the series. */
const maxKeys = 20_000;

interface RequestCounters {
  readonly request: RequestSeries;
  readonly route: RouteSeries;
}

export class WaypointMetrics {
  readonly #maxSeries: number;
  readonly #requests = new Map<string, RequestSeries>();
  readonly #routes = new Map<string, RouteSeries>();
  readonly #connections = new Map<string, ConnectionSeries>();
  readonly #byRequest = new Map<string, RequestCounters>();
  readonly #byConnection = new Map<string, ConnectionSeries>();
  /** What an open connection is counted under, whatever becomes known of it later. */
  readonly #open = new WeakMap<ConnectionRecord, ConnectionSeries>();
  readonly #refused = new Map<number, number>();
  #overflowed = 0;

  /** @param options.maxSeries label sets kept of each family, 1 or more */
  constructor(options?: { readonly maxSeries?: number }) {
    this.#maxSeries = options?.maxSeries ?? defaultMaxSeries;
  }

  request(record: RequestRecord): void {
    const { request, route } = this.#findRequest(record);
    request.requests++;
    observe(request.duration, record.durationMs);
    observe(request.requestBytes, record.requestBytes);
    observe(request.responseBytes, record.responseBytes);
    request.requestMessages += record.requestMessages;
    request.responseMessages += record.responseMessages;
    route.requests++;
    if (record.attempts > 1) route.retries += record.attempts - 1;
    observe(route.duration, record.durationMs);
  }

  opened(record: ConnectionRecord): void {
    const series = this.#findConnection(record);
    series.opened++;
    this.#open.set(record, series);
  }

  /** Without `opened` before it, it never stood. */
  connection(record: ConnectionRecord): void {
    const series = this.#open.get(record);
    if (series === undefined) {
      count(this.#findConnection(record).failed, record.flag);
      return;
    }
    this.#open.delete(record);
    series.received += record.receivedBytes;
    series.sent += record.sentBytes;
    count(series.closed, record.flag);
  }

  /** @param status one of the few a listener answers with; 0 for a handshake that failed */
  refused(status: number): void {
    count(this.#refused, status);
  }

  snapshot(): WaypointMetricsSnapshot {
    return {
      requests: [...this.#requests.values()],
      routes: [...this.#routes.values()],
      connections: [...this.#connections.values()],
      refused: this.#refused,
      overflowed: this.#overflowed,
    };
  }

  /** The sum of several workers' series. */
  static merge(snapshots: readonly WaypointMetricsSnapshot[]): WaypointMetricsSnapshot {
    const requests = new Map<string, RequestSeries>();
    const routes = new Map<string, RouteSeries>();
    const connections = new Map<string, ConnectionSeries>();
    const refused = new Map<number, number>();
    let overflowed = 0;
    for (const snapshot of snapshots) {
      for (const one of snapshot.requests) addRequests(entry(requests, one.labels, makeRequestSeries), one);
      for (const one of snapshot.routes) addRoutes(entry(routes, one.labels, makeRouteSeries), one);
      for (const one of snapshot.connections)
        addConnections(entry(connections, one.labels, makeConnectionSeries), one);
      addCounts(refused, snapshot.refused);
      overflowed += snapshot.overflowed;
    }
    const [requestList, routeList] = [[...requests.values()], [...routes.values()]];
    return {
      requests: requestList,
      routes: routeList,
      connections: [...connections.values()],
      refused,
      overflowed,
    };
  }

  #findRequest(record: RequestRecord): RequestCounters {
    const key = requestKey(record);
    let counters = this.#byRequest.get(key);
    if (counters !== undefined) return counters;
    const request = this.#find(this.#requests, makeRequestSeries, {
      labels: requestLabels(record),
      overflow: httpOverflow,
    });
    const route = this.#find(this.#routes, makeRouteSeries, {
      labels: routeLabels(record),
      overflow: overflowRouteLabels,
    });
    counters = { request, route };
    remember(this.#byRequest, key, counters);
    return counters;
  }

  #findConnection(record: ConnectionRecord): ConnectionSeries {
    const key = connectionKey(record);
    let series = this.#byConnection.get(key);
    if (series !== undefined) return series;
    series = this.#find(this.#connections, makeConnectionSeries, {
      labels: connectionLabels(record),
      overflow: tcpOverflow,
    });
    remember(this.#byConnection, key, series);
    return series;
  }

  #find<S>(
    all: Map<string, S>,
    make: (labels: string) => S,
    { labels, overflow }: { readonly labels: string; readonly overflow: string },
  ): S {
    const known = all.get(labels);
    if (known !== undefined) return known;
    if (all.size < this.#maxSeries) return entry(all, labels, make);
    this.#overflowed++;
    return entry(all, overflow, make);
  }
}

const httpOverflow = overflowLabels('http');
const tcpOverflow = overflowLabels('tcp');

function remember<S>(byKey: Map<string, S>, key: string, series: S): void {
  if (byKey.size >= maxKeys) byKey.clear();
  byKey.set(key, series);
}

function entry<S>(all: Map<string, S>, labels: string, make: (labels: string) => S): S {
  let series = all.get(labels);
  if (series === undefined) {
    series = make(labels);
    all.set(labels, series);
  }
  return series;
}

function makeRequestSeries(labels: string): RequestSeries {
  return {
    labels,
    grpc: labels.includes('request_protocol="grpc"'),
    duration: makeHistogram(),
    requestBytes: makeHistogram(),
    responseBytes: makeHistogram(),
    requests: 0,
    requestMessages: 0,
    responseMessages: 0,
  };
}

function makeRouteSeries(labels: string): RouteSeries {
  return { labels, duration: makeHistogram(), requests: 0, retries: 0 };
}

function makeConnectionSeries(labels: string): ConnectionSeries {
  return { labels, opened: 0, received: 0, sent: 0, closed: new Map(), failed: new Map() };
}

function addRequests(sum: RequestSeries, one: RequestSeries): void {
  sum.requests += one.requests;
  sum.requestMessages += one.requestMessages;
  sum.responseMessages += one.responseMessages;
  addHistogram(sum.duration, one.duration);
  addHistogram(sum.requestBytes, one.requestBytes);
  addHistogram(sum.responseBytes, one.responseBytes);
}

function addRoutes(sum: RouteSeries, one: RouteSeries): void {
  sum.requests += one.requests;
  sum.retries += one.retries;
  addHistogram(sum.duration, one.duration);
}

function addConnections(sum: ConnectionSeries, one: ConnectionSeries): void {
  sum.opened += one.opened;
  sum.received += one.received;
  sum.sent += one.sent;
  addCounts(sum.closed, one.closed);
  addCounts(sum.failed, one.failed);
}

function addCounts<K>(sum: Map<K, number>, counts: ReadonlyMap<K, number>): void {
  for (const [key, value] of counts) sum.set(key, (sum.get(key) ?? 0) + value);
}

function count<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
