// One access-log line a request, or a TCP connection, at a waypoint: Envoy's field names, then what Envoy does not know.
// Absent fields are left out. Pure: record in, text with a newline out. Values that come from a client are escaped.

import { headerValue } from '../../mesh/h2/header.ts';
import { formatHostPort } from '../../mesh/model/ip-address.ts';
import { isoTime, type LineFormat, LogLine } from '../../mesh/proxy/log-line.ts';
import type { ClientConnection } from '../data/client-connection.ts';
import type { Refusal } from '../data/plane-report.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';
import { routeText } from './metric-labels.ts';

const protocols = { '1.0': 'HTTP/1.0', '1.1': 'HTTP/1.1', '2': 'HTTP/2' } as const;

/** Whether a line is one of a failure, for MeshConfig's `FAILURES`. */
export function requestFailed({ flag, status }: Pick<RequestRecord, 'flag' | 'status'>): boolean {
  return (flag !== '' && flag !== 'DI') || status >= 500;
}

/** @param options.traceId of the request's trace; `''` without */
export function formatRequest(
  record: RequestRecord,
  options: LineFormat & { readonly traceId: string },
): string {
  const { request, route } = record;
  const { headers } = request;
  const level = !requestFailed(record) ? 'info' : record.status < 500 && record.status > 0 ? 'warn' : 'error';
  const line = new LogLine(level, 'request complete', options)
    .bare('start_time', isoTime(record.startedAt))
    .quoted('method', request.method)
    .quoted('path', request.path)
    .bare('protocol', protocols[record.version])
    .bare('response_code', record.status)
    .bare('response_flags', record.flag || '-')
    .quoted('response_code_details', record.details)
    .bare('bytes_received', record.requestBytes)
    .bare('bytes_sent', record.responseBytes)
    .bare('duration', Math.round(record.durationMs))
    .bare('upstream_service_time', record.responseMs < 0 ? undefined : Math.round(record.responseMs))
    .quoted('x_forwarded_for', headerValue(headers, 'x-forwarded-for'))
    .quoted('user_agent', headerValue(headers, 'user-agent'))
    .quoted('request_id', record.requestId)
    .quoted('authority', request.authority);
  addUpstream(line, record);
  addDownstream(line, record.connection);
  return line
    .bare('route_name', route && routeText(route))
    .bare('grpc_status', record.grpc ? record.grpcStatus : undefined)
    .bare('attempts', record.attempts > 1 ? record.attempts : undefined)
    .quoted('request_principal', record.requestPrincipal)
    .bare('trace_id', options.traceId)
    .end();
}

export function formatConnection(record: ConnectionRecord, options: LineFormat): string {
  const { flag, route } = record;
  const line = new LogLine(flag === '' ? 'info' : 'error', 'connection complete', options)
    .bare('start_time', isoTime(record.startedAt))
    .bare('protocol', 'TCP')
    .bare('response_flags', flag || '-')
    .quoted('connection_termination_details', record.details)
    .bare('bytes_received', record.receivedBytes)
    .bare('bytes_sent', record.sentBytes)
    .bare('duration', Math.round(record.durationMs))
    .quoted('requested_server_name', record.sni);
  addUpstream(line, record);
  addDownstream(line, record.connection);
  return line
    .bare('route_name', route && routeText(route))
    .bare('attempts', record.attempts > 1 ? record.attempts : undefined)
    .end();
}

/** AUDIT and dry-run policies that matched: they decide nothing and are said. */
export function formatAudit(record: RequestRecord | ConnectionRecord, options: LineFormat): string {
  const policies = record.audits.map(({ policy, rule, wouldDeny }) => {
    const at = rule === '' ? policy : `${policy} rule ${rule}`;
    return wouldDeny === undefined ? at : `${at} (${wouldDeny ? 'would deny' : 'would allow'})`;
  });
  const request = 'request' in record ? record.request : undefined;
  const line = new LogLine('info', 'policy audit', options)
    .quoted('method', request?.method)
    .quoted('path', request?.path)
    .quoted('authority', request?.authority);
  addDownstream(line, record.connection);
  return line.quoted('policies', policies.join(', ')).end();
}

/** A tunnel or connection that got nowhere. */
export function formatRefusal(refusal: Refusal, options: LineFormat): string {
  return new LogLine('warn', 'connection refused', options)
    .bare('downstream_remote_address', formatHostPort(refusal.address, refusal.port))
    .quoted('source_identity', refusal.spiffeId)
    .quoted('downstream_local_address', refusal.authority)
    .bare('response_code', refusal.status === 0 ? undefined : refusal.status)
    .quoted('error', refusal.reason)
    .end();
}

/** `upstream_cluster` is what Envoy calls the service and port that a request went to. */
function addUpstream(line: LogLine, record: RequestRecord | ConnectionRecord): void {
  const { backend, backendPort, endpoint, endpointAddress, endpointPort } = record;
  line
    .bare('upstream_host', endpointAddress && formatHostPort(endpointAddress, endpointPort))
    .bare('upstream_cluster', backend && `${backend.hostname}:${backendPort}`)
    .quoted('upstream_workload', endpoint && `${endpoint.namespace}/${endpoint.name}`);
}

function addDownstream(line: LogLine, connection: ClientConnection): void {
  const { workload } = connection;
  line
    .quoted('downstream_local_address', connection.authority)
    .bare('downstream_remote_address', formatHostPort(connection.address, connection.port))
    .quoted('source_identity', connection.spiffeId)
    .quoted('source_workload', workload && `${workload.namespace}/${workload.name}`);
}
