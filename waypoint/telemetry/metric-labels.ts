// Label sets of a waypoint's series: the text of each is made once, and found again by small numbers of the objects it was
// made from, because every request asks for one. Istio's names (WIRE 7); `reporter` is always `waypoint`.

import type { Service } from '../../mesh/model/service.ts';
import { formatSpiffeId, identityOf } from '../../mesh/model/spiffe-id.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import type { RouteName } from '../../mesh/model/routing.ts';
import { formatLabels } from '../../mesh/telemetry/open-metrics.ts';
import {
  overflowLabel,
  uniformSideLabels,
  unknownLabel,
  workloadLabels,
} from '../../mesh/telemetry/workload-labels.ts';
import type { ClientConnection } from '../data/client-connection.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';

const numbers = new WeakMap<object, number>();
let nextNumber = 1;

/** The same for the same object, as long as it lives; 0 for none. */
function numberOf(object: object | undefined): number {
  if (object === undefined) return 0;
  let number = numbers.get(object);
  if (number === undefined) {
    number = nextNumber++;
    numbers.set(object, number);
  }
  return number;
}

/** Tells label sets of a request apart; short-lived objects are not part of it, except through their own key. */
export function requestKey(record: RequestRecord): string {
  const { connection } = record;
  const where = `${numberOf(record.service)}.${numberOf(record.backend)}.${numberOf(record.endpoint)}`;
  const how = `${record.status}.${record.grpc ? (record.grpcStatus ?? '-') : ''}.${record.flag}`;
  return `${sourceKey(connection)}|${where}|${numberOf(record.route)}.${record.backendPort}|${how}`;
}

export function connectionKey(record: ConnectionRecord): string {
  const where = `${numberOf(record.backend)}.${numberOf(record.endpoint)}.${numberOf(record.connection.service)}`;
  return `${sourceKey(record.connection)}|${where}|${numberOf(record.route)}.${record.backendPort}`;
}

export function requestLabels(record: RequestRecord): string {
  const { connection, grpc, grpcStatus } = record;
  const rest = formatLabels({
    request_protocol: grpc ? 'grpc' : 'http',
    response_code: `${record.status}`,
    grpc_response_status: grpc && grpcStatus !== undefined ? `${grpcStatus}` : '',
    response_flags: record.flag || '-',
    connection_security_policy: securityOf(connection),
  });
  return `${partiesOf(connection, record.backend ?? record.service, record.endpoint)},${rest}`;
}

/** Without `response_flags`: how it ends is not known when it is opened. */
export function connectionLabels(record: ConnectionRecord): string {
  const { connection } = record;
  const rest = formatLabels({
    request_protocol: 'tcp',
    connection_security_policy: securityOf(connection),
  });
  return `${partiesOf(connection, record.backend ?? connection.service, record.endpoint)},${rest}`;
}

/** Of series of our own, by route and backend. */
export function routeLabels(record: RequestRecord): string {
  const { backend } = record;
  return formatLabels({
    destination_service: record.service?.hostname ?? unknownLabel,
    weft_route: routeText(record.route),
    weft_backend: backend === undefined ? unknownLabel : `${backend.key}:${record.backendPort}`,
    response_code: `${record.status}`,
    response_flags: record.flag || '-',
  });
}

/** `HTTPRoute/shop/api/0`; `none` without a route. */
export function routeText(route: RouteName | undefined): string {
  return route === undefined ? 'none' : `${route.kind}/${route.namespace}/${route.name}/${route.rule}`;
}

/** All labels are there, as in any other series, so that sums over them keep working. */
export function overflowLabels(protocol: 'http' | 'tcp'): string {
  const sides = `${uniformSideLabels('source', overflowLabel)},${uniformSideLabels('destination', overflowLabel)}`;
  const rest = formatLabels({
    source_principal: overflowLabel,
    destination_principal: overflowLabel,
    destination_service: overflowLabel,
    destination_service_namespace: overflowLabel,
    destination_service_name: overflowLabel,
    request_protocol: protocol,
    ...(protocol === 'http' && {
      response_code: overflowLabel,
      grpc_response_status: '',
      response_flags: overflowLabel,
    }),
    connection_security_policy: unknownLabel,
  });
  return `reporter="waypoint",${sides},${rest}`;
}

export const overflowRouteLabels = formatLabels({
  destination_service: overflowLabel,
  weft_route: overflowLabel,
  weft_backend: overflowLabel,
  response_code: overflowLabel,
  response_flags: overflowLabel,
});

const sourceKeys = new WeakMap<ClientConnection, string>();

/** Connections come and go, clients stay. */
function sourceKey(connection: ClientConnection): string {
  let key = sourceKeys.get(connection);
  if (key === undefined) {
    key = `${numberOf(connection.workload)}/${connection.spiffeId ?? ''}`;
    sourceKeys.set(connection, key);
  }
  return key;
}

function securityOf({ peer }: ClientConnection): string {
  return peer === undefined ? 'none' : 'mutual_tls';
}

function partiesOf(
  connection: ClientConnection,
  service: Service | undefined,
  endpoint: Workload | undefined,
): string {
  const source = workloadLabels('source', connection.workload);
  const destination = workloadLabels('destination', endpoint ?? connection.target);
  const parties = formatLabels({
    source_principal: connection.spiffeId ?? unknownLabel,
    destination_principal:
      endpoint?.tunnelProtocol === 'hbone' ? formatSpiffeId(identityOf(endpoint)) : unknownLabel,
    destination_service: service?.hostname ?? unknownLabel,
    destination_service_namespace: service?.namespace ?? unknownLabel,
    destination_service_name: service?.name ?? unknownLabel,
  });
  return `reporter="waypoint",${source},${destination},${parties}`;
}
