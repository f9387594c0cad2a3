// The span that a waypoint makes of a sampled request, with the attribute names of OpenTelemetry's HTTP conventions.
// Plain values: it travels from a worker to the main thread, which exports it.

import { formatHostPort } from '../../mesh/model/ip-address.ts';
import type { RequestRecord } from '../data/request-record.ts';
import { routeText } from './metric-labels.ts';
import { requestFailed } from './request-log.ts';
import type { Trace } from './trace-context.ts';

export type AttributeValue = string | number | undefined;

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** Wall clock, ms. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Why it failed; undefined if it did not. */
  readonly error: string | undefined;
  /** Undefined ones are left out. */
  readonly attributes: readonly (readonly [name: string, value: AttributeValue])[];
}

export function makeSpan(record: RequestRecord, trace: Trace): Span {
  const { request, connection, service, backend, status } = record;
  const query = request.path.indexOf('?');
  const path = query < 0 ? request.path : request.path.slice(0, query);
  const { endpointAddress } = record;
  return {
    traceId: trace.traceId,
    spanId: trace.spanId,
    parentSpanId: trace.parentSpanId,
    name: record.route === undefined ? request.method : `${request.method} ${routeText(record.route)}`,
    startedAt: record.startedAt,
    durationMs: record.durationMs,
    error: requestFailed(record) ? record.details || record.flag || `status ${status}` : undefined,
    attributes: [
      ['http.request.method', request.method],
      ['url.scheme', request.scheme],
      ['url.path', path],
      ['server.address', request.authority],
      ['http.response.status_code', status === 0 ? undefined : status],
      ['network.protocol.version', record.version],
      ['client.address', connection.address],
      ['http.request.body.size', record.requestBytes],
      ['http.response.body.size', record.responseBytes],
      ['rpc.system', record.grpc ? 'grpc' : undefined],
      ['rpc.grpc.status_code', record.grpcStatus],
      ['http.request.resend_count', record.attempts > 1 ? record.attempts - 1 : undefined],
      ['network.peer.address', endpointAddress && formatHostPort(endpointAddress, record.endpointPort)],
      ['weft.service', service?.hostname],
      ['weft.backend', backend && `${backend.key}:${record.backendPort}`],
      ['weft.source', connection.spiffeId],
      ['weft.response_flags', record.flag === '' ? undefined : record.flag],
      ['weft.request_id', record.requestId === '' ? undefined : record.requestId],
    ],
  };
}
