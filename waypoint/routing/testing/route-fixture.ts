// Hand-made routes and requests for tests: everything left out is empty.

import type { Header } from '../../../mesh/h2/header.ts';
import type { RequestHead } from '../../../mesh/http/message.ts';
import type { Backend, HttpMatch, HttpRule, NamedMatch, RouteSet } from '../../../mesh/model/routing.ts';
import type { ServiceKey } from '../../../mesh/model/service.ts';

export function makeMatch(parts: Partial<HttpMatch>): HttpMatch {
  return { path: undefined, method: undefined, headers: [], query: [], grpc: undefined, ...parts };
}

export function makeRule(rule: string, parts: Partial<HttpRule> = {}): HttpRule {
  return {
    name: { kind: 'HTTPRoute', namespace: 'shop', name: 'route', rule },
    matches: [],
    filters: [],
    backends: [],
    timeouts: { requestMs: undefined, backendRequestMs: undefined },
    retry: undefined,
    sessionPersistence: undefined,
    trafficPolicy: undefined,
    ...parts,
  };
}

export function makeGrpcRule(rule: string, parts: Partial<HttpRule> = {}): HttpRule {
  return makeRule(rule, { name: { kind: 'GRPCRoute', namespace: 'shop', name: 'route', rule }, ...parts });
}

export function makeRoutes(...http: HttpRule[]): RouteSet {
  return { http, tcp: undefined, tls: [] };
}

export function makeBackend(
  weight: number,
  service = 'shop/cart.shop.svc.cluster.local',
  port = 80,
): Backend {
  return { weight, target: { kind: 'service', service: service as ServiceKey, port }, filters: [] };
}

export function exact(name: string, value: string): NamedMatch {
  return { name, kind: 'exact', value };
}

export function regex(name: string, value: string): NamedMatch {
  return { name, kind: 'regex', value };
}

/** `GET` unless `parts` says otherwise. */
export function makeHead(path: string, parts: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'cart',
    path,
    upgrade: undefined,
    headers: [],
    ...parts,
  };
}

export function makeGrpcHead(path: string, headers: readonly Header[] = []): RequestHead {
  return makeHead(path, { method: 'POST', headers: [['content-type', 'application/grpc'], ...headers] });
}
