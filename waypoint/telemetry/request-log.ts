// One access-log line a request, or a TCP connection, at a waypoint: Envoy's field names, then what Envoy does not know.
// Absent fields are left out. Pure: record in, text with a newline out. Values that come from a client are escaped.

import { headerValue } from '../../mesh/h2/header.ts';
import { formatHostPort } from '../../mesh/model/ip-address.ts';
import { type AccessLogFormat, formatLogLine, type LogField } from '../../mesh/proxy/log-line.ts';
import type { ClientConnection } from '../data/client-connection.ts';
import type { Refusal } from '../data/plane-report.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';
import { routeText } from './metric-labels.ts';

export interface LineOptions {
  /** Wall clock, ms. */
  readonly endedAt: number;
  readonly format: AccessLogFormat;
}

const protocols = { '1.0': 'HTTP/1.0', '1.1': 'HTTP/1.1', '2': 'HTTP/2' } as const;

/** Whether a line is one of a failure, for MeshConfig's `FAILURES`. */
export function requestFailed({ flag, status }: Pick<RequestRecord, 'flag' | 'status'>): boolean {
  return (flag !== '' && flag !== 'DI') || status >= 500;
}

/** @param options.traceId of the request's trace; `''` without */
export function formatRequest(
  record: RequestRecord,
  options: LineOptions & { readonly traceId: string },
): string {
  const { connection, request } = record;
  const fields: LogField[] = [
    ['start_time', isoTime(record.startedAt), 'bare'],
    ['method', request.method, 'quoted'],
    ['path', request.path, 'quoted'],
    ['protocol', protocols[record.version], 'bare'],
    ['response_code', record.status, 'bare'],
    ['response_flags', record.flag || '-', 'bare'],
    ['response_code_details', record.details, 'quoted'],
    ['bytes_received', record.requestBytes, 'bare'],
    ['bytes_sent', record.responseBytes, 'bare'],
    ['duration', Math.round(record.durationMs), 'bare'],
    ['upstream_service_time', record.responseMs < 0 ? undefined : Math.round(record.responseMs), 'bare'],
    ['x_forwarded_for', headerValue(request.headers, 'x-forwarded-for'), 'quoted'],
    ['user_agent', headerValue(request.headers, 'user-agent'), 'quoted'],
    ['request_id', record.requestId, 'quoted'],
    ['authority', request.authority, 'quoted'],
    ...upstreamFields(record),
    ...downstreamFields(connection),
    ['route_name', record.route && routeText(record.route), 'bare'],
    ['grpc_status', record.grpc ? record.grpcStatus : undefined, 'bare'],
    ['attempts', record.attempts > 1 ? record.attempts : undefined, 'bare'],
    ['request_principal', record.requestPrincipal, 'quoted'],
    ['trace_id', options.traceId, 'bare'],
  ];
  const level = !requestFailed(record) ? 'info' : record.status < 500 && record.status > 0 ? 'warn' : 'error';
  return formatLogLine({ level, message: 'request complete' }, fields, options);
}

export function formatConnection(record: ConnectionRecord, options: LineOptions): string {
  const { connection, flag } = record;
  const fields: LogField[] = [
    ['start_time', isoTime(record.startedAt), 'bare'],
    ['protocol', 'TCP', 'bare'],
    ['response_flags', flag || '-', 'bare'],
    ['connection_termination_details', record.details, 'quoted'],
    ['bytes_received', record.receivedBytes, 'bare'],
    ['bytes_sent', record.sentBytes, 'bare'],
    ['duration', Math.round(record.durationMs), 'bare'],
    ['requested_server_name', record.sni, 'quoted'],
    ...upstreamFields(record),
    ...downstreamFields(connection),
    ['route_name', record.route && routeText(record.route), 'bare'],
    ['attempts', record.attempts > 1 ? record.attempts : undefined, 'bare'],
  ];
  return formatLogLine(
    { level: flag === '' ? 'info' : 'error', message: 'connection complete' },
    fields,
    options,
  );
}

/** AUDIT and dry-run policies that matched: they decide nothing and are said. */
export function formatAudit(record: RequestRecord | ConnectionRecord, options: LineOptions): string {
  const policies = record.audits.map(({ policy, rule, wouldDeny }) => {
    const at = rule === '' ? policy : `${policy} rule ${rule}`;
    return wouldDeny === undefined ? at : `${at} (${wouldDeny ? 'would deny' : 'would allow'})`;
  });
  const request = 'request' in record ? record.request : undefined;
  const fields: LogField[] = [
    ['method', request?.method, 'quoted'],
    ['path', request?.path, 'quoted'],
    ['authority', request?.authority, 'quoted'],
    ...downstreamFields(record.connection),
    ['policies', policies.join(', '), 'quoted'],
  ];
  return formatLogLine({ level: 'info', message: 'policy audit' }, fields, options);
}

/** A tunnel or connection that got nowhere. */
export function formatRefusal(refusal: Refusal, options: LineOptions): string {
  const fields: LogField[] = [
    ['downstream_remote_address', formatHostPort(refusal.address, refusal.port), 'bare'],
    ['source_identity', refusal.spiffeId, 'quoted'],
    ['downstream_local_address', refusal.authority, 'quoted'],
    ['response_code', refusal.status === 0 ? undefined : refusal.status, 'bare'],
    ['error', refusal.reason, 'quoted'],
  ];
  return formatLogLine({ level: 'warn', message: 'connection refused' }, fields, options);
}

/** `upstream_cluster` is what Envoy calls the service and port that a request went to. */
function upstreamFields(record: RequestRecord | ConnectionRecord): LogField[] {
  const { backend, backendPort, endpoint, endpointAddress, endpointPort } = record;
  const host = endpointAddress === undefined ? undefined : formatHostPort(endpointAddress, endpointPort);
  return [
    ['upstream_host', host, 'bare'],
    ['upstream_cluster', backend && `${backend.hostname}:${backendPort}`, 'bare'],
    ['upstream_workload', endpoint && `${endpoint.namespace}/${endpoint.name}`, 'quoted'],
  ];
}

function downstreamFields(connection: ClientConnection): LogField[] {
  const { workload } = connection;
  return [
    ['downstream_local_address', connection.authority, 'quoted'],
    ['downstream_remote_address', formatHostPort(connection.address, connection.port), 'bare'],
    ['source_identity', connection.spiffeId, 'quoted'],
    ['source_workload', workload && `${workload.namespace}/${workload.name}`, 'quoted'],
  ];
}

let lastMs = -1;
let lastText = '';

/** Requests come several to a millisecond. */
function isoTime(ms: number): string {
  const whole = Math.trunc(ms);
  if (whole !== lastMs) {
    lastMs = whole;
    lastText = new Date(whole).toISOString();
  }
  return lastText;
}
