// Random documents for property tests, every field of the model's types in use. Only tests import this.

import fc from 'fast-check';
import type { AuthorizationPolicy, HttpMatchConditions, PathMatch } from '../../model/authorization.ts';
import type {
  JwtRule,
  RequestAuthentication,
  RequestAuthenticationKey,
  RequestTarget,
} from '../../model/request-authentication.ts';
import type * as routing from '../../model/routing.ts';
import type { HttpTrafficPolicy, RequestCondition } from '../../model/traffic-policy.ts';
import {
  authorizationArbitrary,
  ip,
  label,
  match,
  service,
  someText,
  stringMatches,
  text,
} from './model-arbitrary.ts';

const port = fc.integer({ min: 1, max: 65_535 });
const count = fc.nat(1_000);
const ms = fc.nat(1_000_000);
const percent = fc.nat(100);
const status = fc.integer({ min: 400, max: 599 });
const header = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 2 });
const maybe = <T>(item: fc.Arbitrary<T>) => fc.option(item, { nil: undefined });

export const gatewayKeyArbitrary = fc
  .tuple(label, label)
  .map(([namespace, name]) => `${namespace}/${name}` as routing.GatewayKey);

export const waypointArbitrary: fc.Arbitrary<routing.WaypointConfig> = fc.record(
  {
    gateway: gatewayKeyArbitrary,
    servesFor: fc.constantFrom('service', 'workload', 'all', 'none'),
    serviceAccount: label,
    addresses: list(ip),
    forwardClientCert: fc.boolean(),
    explainPolicyTo: fc.array(label, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: ['gateway', 'servesFor', 'serviceAccount', 'addresses', 'forwardClientCert'] },
);

const condition: fc.Arbitrary<RequestCondition | undefined> = maybe(
  fc.record({
    pathPrefix: maybe(text),
    methods: list(text),
    headers: list(fc.record({ name: header, value: text })),
  }),
);

const httpTrafficPolicy: fc.Arbitrary<HttpTrafficPolicy> = fc.record(
  {
    key: someText,
    balancing: fc.constantFrom('peak-ewma', 'least-connections', 'random', 'ring-hash', 'maglev'),
    hashOn: fc.oneof(
      fc.record({ kind: fc.constant('header' as const), name: header }),
      fc.record({ kind: fc.constant('cookie' as const), name: someText, ttlMs: maybe(ms) }),
      fc.constant({ kind: 'source' as const }),
    ),
    slowStartMs: ms,
    maxPendingRequests: count,
    maxRequests: count,
    maxRequestsPerConnection: count,
    requestTimeoutMs: ms,
    perTryTimeoutMs: ms,
    retry: fc.record({ attempts: fc.nat(9), codes: list(status), backoffMs: ms, unsafe: fc.boolean() }),
    retryBudget: fc.record({ percent, minPerSecond: count }),
    hedging: fc.record({ delayMs: ms, maxAttempts: fc.nat(9) }),
    rateLimits: list(
      fc.record({
        key: fc.oneof(
          fc.record({ kind: fc.constantFrom('all' as const, 'identity' as const, 'source-ip' as const) }),
          fc.record({ kind: fc.constant('header' as const), name: header }),
        ),
        requests: fc.integer({ min: 1, max: 99 }),
        intervalMs: fc.integer({ min: 1, max: 86_400_000 }),
        burst: fc.integer({ min: 1, max: 99 }),
        when: condition,
      }),
    ),
    faults: list(
      fc.record({
        when: condition,
        delay: maybe(fc.record({ ms, percent })),
        abort: maybe(fc.record({ status, grpcStatus: maybe(fc.nat(16)), percent })),
      }),
    ),
    maxRequestBodyBytes: count,
    maxHeaderBytes: count,
    ejection: fc.record({
      consecutiveFailures: fc.integer({ min: 1, max: 100 }),
      baseEjectionMs: fc.integer({ min: 1, max: 99 }),
      maxEjectionMs: fc.integer({ min: 1, max: 99 }),
      maxEjectionPercent: fc.nat(100),
    }),
    httpOutlierDetection: fc.record({
      consecutive5xx: count,
      consecutiveGatewayErrors: count,
      successRateDeviations: count,
      latencyFactor: count,
    }),
  },
  { requiredKeys: ['key'] },
);

const name: fc.Arbitrary<routing.RouteName> = fc.record({
  kind: fc.constantFrom('HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'),
  namespace: label,
  name: label,
  rule: text,
});
const target: fc.Arbitrary<routing.Backend['target']> = fc.oneof(
  fc.record({ kind: fc.constant('service' as const), service, port }),
  fc.record({ kind: fc.constant('invalid' as const), reason: text }),
);
const pair = fc.tuple(header, text);
const edit = { set: list(pair), add: list(pair), remove: list(header) };
const path = fc.record({ kind: fc.constantFrom('full' as const, 'prefix' as const), value: text });

const filter: fc.Arbitrary<routing.HttpFilter> = fc.oneof(
  fc.record({ kind: fc.constant('request-headers' as const), ...edit }),
  fc.record({ kind: fc.constant('response-headers' as const), ...edit }),
  fc.record({
    kind: fc.constant('redirect' as const),
    scheme: fc.constantFrom('http' as const, 'https' as const, undefined),
    hostname: maybe(someText),
    path: maybe(path),
    port: maybe(port),
    status: fc.constantFrom(301 as const, 302 as const, 303 as const, 307 as const, 308 as const),
  }),
  fc.record({ kind: fc.constant('rewrite' as const), hostname: maybe(someText), path: maybe(path) }),
  fc.record({
    kind: fc.constant('mirror' as const),
    target,
    numerator: count,
    denominator: fc.integer({ min: 1, max: 99 }),
  }),
  fc.record({
    kind: fc.constant('cors' as const),
    allowOrigins: list(text),
    allowCredentials: fc.boolean(),
    allowMethods: list(text),
    allowHeaders: list(text),
    exposeHeaders: list(text),
    maxAgeSeconds: count,
  }),
  fc.record({
    kind: fc.constant('external-auth' as const),
    protocol: fc.constantFrom('http' as const, 'grpc' as const),
    target,
    path: text,
    allowedHeaders: list(header),
    allowedResponseHeaders: list(header),
    maxBodyBytes: count,
  }),
);
const backends = list(fc.record({ weight: fc.nat(1_000_000), target, filters: list(filter) }));
const named = list(
  fc.record({ name: someText, kind: fc.constantFrom('exact' as const, 'regex' as const), value: text }),
);

const httpRule: fc.Arbitrary<routing.HttpRule> = fc.record({
  name,
  matches: list(
    fc.record({
      path: maybe(
        fc.record({
          kind: fc.constantFrom('exact' as const, 'prefix' as const, 'regex' as const),
          value: text,
        }),
      ),
      method: maybe(someText),
      headers: named,
      query: named,
      grpc: maybe(
        fc.record({
          kind: fc.constantFrom('exact' as const, 'regex' as const),
          service: maybe(text),
          method: maybe(text),
        }),
      ),
    }),
  ),
  filters: list(filter),
  backends,
  timeouts: fc.record({ requestMs: maybe(ms), backendRequestMs: maybe(ms) }),
  retry: maybe(fc.record({ codes: list(status), attempts: count, backoffMs: maybe(ms) })),
  sessionPersistence: maybe(
    fc.record({
      kind: fc.constantFrom('cookie' as const, 'header' as const),
      name: someText,
      absoluteTimeoutMs: maybe(ms),
      permanent: fc.boolean(),
      idleTimeoutMs: maybe(ms),
    }),
  ),
  trafficPolicy: maybe(httpTrafficPolicy),
});

const routes: fc.Arbitrary<routing.RouteSet> = fc.record({
  http: list(httpRule),
  tcp: maybe(fc.record({ name, backends })),
  tls: list(fc.record({ name, backends, hostnames: list(text) })),
});

export const serviceRoutingArbitrary: fc.Arbitrary<routing.ServiceRouting> = fc
  .record(
    {
      gateway: gatewayKeyArbitrary,
      service,
      ports: list(fc.record({ port, routes, consumers: list(fc.record({ namespace: label, routes })) })),
      trafficPolicy: httpTrafficPolicy,
      backendPolicies: list(fc.record({ service, policy: httpTrafficPolicy })),
    },
    { requiredKeys: ['gateway', 'service', 'ports'] },
  )
  .map((fields) => ({ key: `${fields.gateway}|${fields.service}` as routing.RoutingKey, ...fields }));

const requestTarget: fc.Arbitrary<RequestTarget> = fc.oneof(
  fc.record({ kind: fc.constant('gateway' as const), gateway: gatewayKeyArbitrary }),
  fc.record({ kind: fc.constant('service' as const), service }),
  fc.record({ kind: fc.constant('namespace' as const), namespace: text }),
);
const targets = fc.array(requestTarget, { minLength: 1, maxLength: 2 });

const jwtRule: fc.Arbitrary<JwtRule> = fc.record({
  issuer: someText,
  audiences: list(text),
  keys: fc.oneof(
    fc.record({ kind: fc.constant('url' as const), url: someText }),
    fc.record({ kind: fc.constant('inline' as const), jwks: someText }),
  ),
  locations: fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('header' as const), name: header, prefix: text }),
      fc.record({ kind: fc.constantFrom('cookie' as const, 'query' as const), name: someText }),
    ),
    { minLength: 1, maxLength: 2 },
  ),
  claimHeaders: list(fc.record({ claim: someText, header })),
  forward: fc.boolean(),
  payloadHeader: maybe(header),
});

export const requestAuthenticationArbitrary: fc.Arbitrary<RequestAuthentication> = fc.record({
  key: fc.tuple(label, label).map(([namespace, of]) => `${namespace}/${of}` as RequestAuthenticationKey),
  namespace: text,
  targets,
  rules: list(jwtRule),
});

const template = fc
  .constantFrom('/{*}', '/a/{*}/b/{**}', '/{**}/c')
  .map((value) => ({ kind: 'template' as const, value }));
const pathMatches: fc.Arbitrary<PathMatch[]> = fc
  .tuple(stringMatches, list(template))
  .map(([texts, templates]) => [...texts, ...templates]);

const http: fc.Arbitrary<HttpMatchConditions> = fc.record({
  hosts: stringMatches,
  notHosts: stringMatches,
  methods: stringMatches,
  notMethods: stringMatches,
  paths: pathMatches,
  notPaths: pathMatches,
  requestPrincipals: stringMatches,
  notRequestPrincipals: stringMatches,
  headers: list(fc.record({ name: header, values: stringMatches, notValues: stringMatches })),
  claims: list(
    fc.record({
      path: fc.array(text, { minLength: 1, maxLength: 2 }),
      values: stringMatches,
      notValues: stringMatches,
    }),
  ),
});

const httpRules = list(
  fc.record({
    name: text,
    clauses: list(
      fc.record({
        matches: list(
          fc.tuple(match, maybe(http)).map(([l4, l7]) => (l7 === undefined ? l4 : { ...l4, http: l7 })),
        ),
      }),
    ),
  }),
);

export const httpAuthorizationArbitrary: fc.Arbitrary<AuthorizationPolicy> = fc
  .tuple(authorizationArbitrary, httpRules, maybe(targets))
  .map(([policy, rules, attached]) =>
    attached === undefined
      ? { ...policy, rules }
      : { ...policy, rules, scope: policy.dryRun ? 'workload' : 'target', targets: attached },
  );
