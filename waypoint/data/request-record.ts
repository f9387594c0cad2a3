// All that is known of one request, or of one TCP connection, when it has ended. Metrics, access log and traces are made
// from this and nothing else. One object a request, filled in place; whoever gets it may keep it.

import type { RequestHead } from '../../mesh/http/message.ts';
import type { HttpVersion } from '../../mesh/http/stream.ts';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { RouteName } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import type { Decision } from '../../mesh/authz/policy-set.ts';
import type { ClientConnection } from './client-connection.ts';

/** Envoy's response flags, so that existing dashboards read them; `''` when nothing went wrong. */
export type ResponseFlag =
  | ''
  | 'UF' // no connection to the endpoint
  | 'UH' // no endpoint that takes requests
  | 'UO' // a limit of the service is reached
  | 'UT' // the request's (or the last try's) time is over
  | 'UC' // the endpoint closed its connection under the request
  | 'UR' // the endpoint reset the stream
  | 'UPE' // the endpoint broke the protocol
  | 'URX' // failed after the last retry
  | 'NR' // no route matches
  | 'NC' // a backend that can not be used
  | 'RL' // a rate limit
  | 'UAEX' // denied by authorization, a token or an external authorization service
  | 'DC' // the client went away
  | 'DPE' // the client broke the protocol
  | 'FI' // a fault that was injected: abort
  | 'DI' // a fault that was injected: delay
  | 'SI' // idle for too long
  | 'LR' // the waypoint cut it: drain, revocation, overload
  | 'RFCF'; // a filter failed

export interface RequestRecord {
  readonly connection: ClientConnection;
  /** Version the client speaks. */
  readonly version: HttpVersion;
  /** Wall clock, ms. */
  readonly startedAt: number;
  /** Monotonic ms (the reactor's). */
  readonly startedMs: number;
  /** As the client sent it. */
  readonly request: RequestHead;
  requestId: string;
  /** Says `application/grpc` in its content-type. */
  grpc: boolean;
  route: RouteName | undefined;
  /** The service that was asked; undefined for a workload. */
  readonly service: Service | undefined;
  /** The service whose endpoint answered, after routing. */
  backend: Service | undefined;
  backendPort: number;
  /** The last endpoint tried. */
  endpoint: Workload | undefined;
  endpointAddress: IpAddress | undefined;
  endpointPort: number;
  /** `issuer/subject` of a verified token; `''` without. */
  requestPrincipal: string;
  /** Tries sent to endpoints; 0 when answered here. */
  attempts: number;
  /** 0 when nothing was answered (the client went away). */
  status: number;
  /** Of trailers or a trailers-only response; undefined if none was seen. */
  grpcStatus: number | undefined;
  flag: ResponseFlag;
  /** Why, one short text; `''` when nothing went wrong. */
  details: string;
  /** Payload octets of the request and of the response. */
  requestBytes: number;
  responseBytes: number;
  /** gRPC messages either way; 0 for other requests. */
  requestMessages: number;
  responseMessages: number;
  durationMs: number;
  /** From the start to the response's head; -1 without one. */
  responseMs: number;
  /** AUDIT and dry-run policies that matched. */
  audits: Decision['audits'];
  /** Free for whoever traces. */
  trace: unknown;
}

/** One TCP connection passed through. */
export interface ConnectionRecord {
  readonly connection: ClientConnection;
  readonly startedAt: number;
  /** TLS that is passed through, by its ClientHello. */
  sni: string | undefined;
  route: RouteName | undefined;
  backend: Service | undefined;
  backendPort: number;
  endpoint: Workload | undefined;
  endpointAddress: IpAddress | undefined;
  endpointPort: number;
  attempts: number;
  /** Client to server, and back. */
  receivedBytes: number;
  sentBytes: number;
  durationMs: number;
  flag: ResponseFlag;
  details: string;
  audits: Decision['audits'];
}
