// How a waypoint routes: what the Gateway API's routes say about each service it stands in front of. Compiled by the
// controller, so nothing here refers to an object that was not resolved, granted and checked. Rules keep the order that
// breaks ties (age of the route, its name, place in it); which of several matches is the most specific is the router's.

import type { Brand } from './brand.ts';
import type { IpAddress } from './ip-address.ts';
import type { ServiceKey } from './service.ts';
import type { HttpTrafficPolicy } from './traffic-policy.ts';

/** `namespace/name` of a Gateway. */
export type GatewayKey = Brand<string, 'GatewayKey'>;
/** `<gateway>|<service>`. */
export type RoutingKey = Brand<string, 'RoutingKey'>;

/** One service as one waypoint serves it. Exists for every service that names the waypoint, with or without routes. */
export interface ServiceRouting {
  readonly key: RoutingKey;
  readonly gateway: GatewayKey;
  readonly service: ServiceKey;
  /** Sorted by port; one for each port of the service. */
  readonly ports: readonly PortRouting[];
  /** L7 policy of the service: its own TrafficPolicy's, field by field over that of the Gateway. */
  readonly trafficPolicy?: HttpTrafficPolicy;
  /** The own policy of each other service that a backend of these routes names; sorted by service, without those that have none. */
  readonly backendPolicies?: readonly { readonly service: ServiceKey; readonly policy: HttpTrafficPolicy }[];
}

/** Routes of one port. A route whose parentRef names no port is in every port it may be in. */
export interface PortRouting {
  /** Service port, not target port. */
  readonly port: number;
  /** Of the service's owner. */
  readonly routes: RouteSet;
  /** Of clients (consumer routes): for a client in one of these namespaces they replace the owner's. Sorted. */
  readonly consumers: readonly { readonly namespace: string; readonly routes: RouteSet }[];
}

export interface RouteSet {
  /** HTTPRoute and GRPCRoute rules. Empty: no route is attached, requests go to the service itself; else 404 if none matches. */
  readonly http: readonly HttpRule[];
  /** Undefined: no TCPRoute, connections go to the service itself. */
  readonly tcp: L4Rule | undefined;
  /** TLSRoute rules by SNI; the first that matches. Empty: none is attached. */
  readonly tls: readonly (L4Rule & { readonly hostnames: readonly string[] })[];
}

/** Names a rule in logs, metrics and statuses. */
export interface RouteName {
  readonly kind: 'HTTPRoute' | 'GRPCRoute' | 'TCPRoute' | 'TLSRoute';
  readonly namespace: string;
  readonly name: string;
  /** The rule's name, or its index as text. */
  readonly rule: string;
}

export interface L4Rule {
  readonly name: RouteName;
  readonly backends: readonly Backend[];
}

export interface HttpRule {
  readonly name: RouteName;
  /** ORed. Empty: matches every request. */
  readonly matches: readonly HttpMatch[];
  /** In the order they apply. */
  readonly filters: readonly HttpFilter[];
  /** Empty without a redirect among the filters: 500 (Gateway API: no backends). */
  readonly backends: readonly Backend[];
  readonly timeouts: RouteTimeouts;
  readonly retry: RouteRetry | undefined;
  readonly sessionPersistence: SessionPersistence | undefined;
  /** Of a TrafficPolicy that targets the route; replaces that of the service field by field. */
  readonly trafficPolicy: HttpTrafficPolicy | undefined;
}

/** What is set must hold. Header names are lower case; values of regular expressions are RE2 syntax and checked. */
export interface HttpMatch {
  readonly path: { readonly kind: 'exact' | 'prefix' | 'regex'; readonly value: string } | undefined;
  readonly method: string | undefined;
  readonly headers: readonly NamedMatch[];
  readonly query: readonly NamedMatch[];
  /** Of a GRPCRoute: service and method, exact or regex; undefined matches any. */
  readonly grpc: GrpcMethodMatch | undefined;
}

export interface NamedMatch {
  readonly name: string;
  readonly kind: 'exact' | 'regex';
  readonly value: string;
}

export interface GrpcMethodMatch {
  readonly kind: 'exact' | 'regex';
  readonly service: string | undefined;
  readonly method: string | undefined;
}

export interface Backend {
  /** 0 takes nothing. */
  readonly weight: number;
  /** What the backendRef leads to; `invalid` takes its share and answers it with 500 (Gateway API). */
  readonly target:
    | { readonly kind: 'service'; readonly service: ServiceKey; readonly port: number }
    | { readonly kind: 'invalid'; readonly reason: string };
  readonly filters: readonly HttpFilter[];
}

export type HttpFilter =
  | ({ readonly kind: 'request-headers' } & HeaderEdit)
  | ({ readonly kind: 'response-headers' } & HeaderEdit)
  | RedirectFilter
  | RewriteFilter
  | MirrorFilter
  | CorsFilter
  | ExternalAuthFilter;

/** Names are lower case. Order: set, add, remove (Gateway API leaves it open; a name is in one list only). */
export interface HeaderEdit {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export type PathEdit =
  | { readonly kind: 'full'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string };

export interface RedirectFilter {
  readonly kind: 'redirect';
  readonly scheme: 'http' | 'https' | undefined;
  readonly hostname: string | undefined;
  readonly path: PathEdit | undefined;
  readonly port: number | undefined;
  readonly status: 301 | 302 | 303 | 307 | 308;
}

export interface RewriteFilter {
  readonly kind: 'rewrite';
  readonly hostname: string | undefined;
  readonly path: PathEdit | undefined;
}

export interface MirrorFilter {
  readonly kind: 'mirror';
  readonly target: Backend['target'];
  readonly numerator: number;
  readonly denominator: number;
}

export interface CorsFilter {
  readonly kind: 'cors';
  /** Scheme, host and port with an optional `*` in the host; `*` alone allows every origin. */
  readonly allowOrigins: readonly string[];
  readonly allowCredentials: boolean;
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly maxAgeSeconds: number;
}

export interface ExternalAuthFilter {
  readonly kind: 'external-auth';
  readonly protocol: 'http' | 'grpc';
  readonly target: Backend['target'];
  /** Prefix of the path of the check request; HTTP only. */
  readonly path: string;
  readonly allowedHeaders: readonly string[];
  readonly allowedResponseHeaders: readonly string[];
  /** Bytes of the request's body sent along; 0 none. */
  readonly maxBodyBytes: number;
}

/** 0 switches the timeout off; undefined leaves it to the TrafficPolicy. */
export interface RouteTimeouts {
  readonly requestMs: number | undefined;
  readonly backendRequestMs: number | undefined;
}

export interface RouteRetry {
  /** Status codes that are tried again, 400 to 599; empty: only failures to connect and resets before a response. */
  readonly codes: readonly number[];
  /** Tries after the first one. */
  readonly attempts: number;
  readonly backoffMs: number | undefined;
}

export interface SessionPersistence {
  readonly kind: 'cookie' | 'header';
  readonly name: string;
  /** The session ends this long after it began; undefined: only with the cookie, or never. */
  readonly absoluteTimeoutMs: number | undefined;
  /** A cookie that outlives the browser session, until the absolute timeout, which is set then (lifetimeType Permanent). */
  readonly permanent: boolean;
  readonly idleTimeoutMs: number | undefined;
}

/** What a waypoint is told about itself. */
export interface WaypointConfig {
  readonly gateway: GatewayKey;
  /** Which traffic is sent to it (label `weft.dev/waypoint-for`, Istio's as alias). */
  readonly servesFor: 'service' | 'workload' | 'all' | 'none';
  readonly serviceAccount: string;
  readonly addresses: readonly IpAddress[];
  /** X-Forwarded-Client-Cert with the client's identity is sent to applications. */
  readonly forwardClientCert: boolean;
  /**
   * Clients that may ask which policy decided: `namespace/service-account`, `namespace/*`, or `*` for every identity.
   * Absent: nobody.
   */
  readonly explainPolicyTo?: readonly string[];
}
