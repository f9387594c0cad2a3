// Gateways, waypoint labels and routes in any combination: the result holds together, fails closed, does not depend on
// order, and can be sent; a route that comes changes nothing for services it does not name.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { modelEqual } from '../../mesh/model/diff.ts';
import type { Model } from '../../mesh/model/model.ts';
import type { Backend, RouteSet } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import { decodeServiceRouting, encodeServiceRouting } from '../../mesh/xds/routing-codec.ts';
import { decodeWaypoint, encodeWaypoint } from '../../mesh/xds/waypoint-codec.ts';
import { buildResources, type TypedObject } from '../resources/resources.ts';
import { parseManifest } from '../source/parse-manifest.ts';
import { translate } from './translate.ts';

const gatewayApi = 'gateway.networking.k8s.io/v1';
const namespace = fc.constantFrom('shop', 'bank');
const name = fc.constantFrom('a', 'a', 'a', 'b', 'b', 'wp');
const labels = fc.dictionary(
  fc.constantFrom(
    'weft.dev/waypoint',
    'istio.io/use-waypoint',
    'weft.dev/waypoint-namespace',
    'weft.dev/waypoint-missing',
    'weft.dev/waypoint-for',
    'gateway.networking.k8s.io/gateway-name',
    'app',
  ),
  fc.constantFrom('wp', 'a', 'none', 'shop', 'l4-only', 'workload', 'all', ''),
  { maxKeys: 3 },
);
const created = fc.constantFrom('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z');
const metadata = fc.record({ name, namespace, labels, creationTimestamp: created });

const reference = fc.record(
  {
    group: fc.constantFrom('', 'weft.dev', 'example.com'),
    kind: fc.constantFrom('Service', 'ServiceEntry', 'Bucket'),
    name,
    namespace,
    port: fc.constantFrom(80, 443, 1),
    weight: fc.nat(3),
  },
  { requiredKeys: ['name'] },
);
const parent = fc.oneof(
  fc.constant({ group: '', kind: 'Service', name: 'a', namespace: 'shop' }),
  fc.record(
    {
      group: fc.constantFrom('', 'weft.dev'),
      kind: fc.constantFrom('Service', 'ServiceEntry'),
      name,
      namespace,
      port: fc.constantFrom(80, 443),
      sectionName: fc.constantFrom('http', 'x'),
    },
    { requiredKeys: ['group', 'kind', 'name'] },
  ),
  fc.record({ name }),
);
const pattern = fc.constantFrom('a+', '(?=x)', 'a{2000}', '[');
const filter = fc.constantFrom(
  {
    type: 'RequestHeaderModifier',
    requestHeaderModifier: { set: [{ name: 'X', value: 'y' }], remove: ['x', 'Z'] },
  },
  { type: 'RequestRedirect', requestRedirect: { port: 8080 } },
  { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
  { type: 'RequestMirror', requestMirror: { backendRef: { name: 'b', port: 80 }, percent: 3 } },
  { type: 'CORS', cors: { allowOrigins: ['*'] } },
  { type: 'ExternalAuth', externalAuth: { protocol: 'HTTP', backendRef: { name: 'gone' }, http: {} } },
  { type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'Y', name: 'z' } },
  { type: 'Teleport' },
);
const httpMatch = fc.record(
  {
    path: fc.oneof(
      fc.record({ type: fc.constantFrom('Exact', 'PathPrefix'), value: fc.constantFrom('/', '/x') }),
      fc.record({ type: fc.constantFrom('RegularExpression', 'Magic'), value: pattern }),
    ),
    headers: fc.array(
      fc.record({
        type: fc.constantFrom('Exact', 'RegularExpression'),
        name: fc.constantFrom('A', 'a'),
        value: pattern,
      }),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: [] },
);
const httpRule = fc.record(
  {
    name: fc.constantFrom('r', 's'),
    matches: fc.array(httpMatch, { maxLength: 2 }),
    filters: fc.array(filter, { maxLength: 2 }),
    backendRefs: fc.array(reference, { maxLength: 2 }),
    timeouts: fc.record({
      request: fc.constantFrom('1s', '0s'),
      backendRequest: fc.constantFrom('500ms', '9h'),
    }),
    retry: fc.record({ codes: fc.constantFrom([503], [503, 502]), backoff: fc.constant('99999h') }),
    sessionPersistence: fc.record({ type: fc.constantFrom('Cookie', 'Header', 'Ring') }),
  },
  { requiredKeys: [] },
);
const rules = (rule: fc.Arbitrary<object>) => fc.array(rule, { minLength: 1, maxLength: 3 });
const parentRefs = fc.array(parent, { minLength: 1, maxLength: 3 });
const l4Rule = fc.record({ backendRefs: fc.array(reference, { minLength: 1, maxLength: 2 }) });
const grpcRule = fc.record(
  {
    matches: fc.array(
      fc.record({
        method: fc.record({
          type: fc.constantFrom('Exact', 'RegularExpression'),
          service: fc.constantFrom('a.B', 'a_'),
        }),
      }),
      { maxLength: 2 },
    ),
    filters: fc.array(filter, { maxLength: 1 }),
    backendRefs: fc.array(reference, { maxLength: 1 }),
  },
  { requiredKeys: [] },
);

const specs: Readonly<Record<string, readonly [apiVersion: string, body: fc.Arbitrary<object>]>> = {
  Namespace: ['v1', fc.constant({})],
  Gateway: [
    gatewayApi,
    fc.record({
      spec: fc.record({
        gatewayClassName: fc.constantFrom('weft-waypoint', 'weft-waypoint', 'other'),
        listeners: fc.constantFrom(
          [{ name: 'mesh', port: 15_008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' } } }],
          [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
          [{ name: 'web', port: 80, protocol: 'HTTP' }],
        ),
      }),
    }),
  ],
  Pod: [
    'v1',
    fc.record({
      spec: fc.record({ serviceAccountName: fc.constantFrom('wp', 'default'), hostNetwork: fc.boolean() }),
      status: fc.record({ podIP: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4') }),
    }),
  ],
  Service: [
    'v1',
    fc.record({
      spec: fc.record({
        selector: fc.option(fc.record({ app: fc.constantFrom('wp', 'a') }), { nil: undefined }),
        clusterIP: fc.constantFrom('None', '10.96.0.1', '10.96.0.2'),
        ports: fc.constantFrom(
          [{ name: 'http', port: 80 }],
          [
            { name: 'x', port: 443, appProtocol: 'https' },
            { name: 'http', port: 80 },
          ],
          [],
        ),
      }),
    }),
  ],
  ServiceEntry: [
    'weft.dev/v1alpha1',
    fc.record({
      spec: fc.record({
        hosts: fc.constantFrom(['x.example'], ['x.example', 'y.example']),
        ports: fc.constant([{ number: 80, name: 'http', protocol: 'HTTP' }]),
        resolution: fc.constant('DNS'),
      }),
    }),
  ],
  EndpointSlice: [
    'discovery.k8s.io/v1',
    fc.constant({ addressType: 'IPv4', endpoints: [{ addresses: ['10.9.9.9'] }], ports: [{ port: 80 }] }),
  ],
  ReferenceGrant: [
    gatewayApi,
    fc.record({
      spec: fc.constantFrom({
        from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
        to: [{ group: '', kind: 'Service' }],
      }),
    }),
  ],
  HTTPRoute: [gatewayApi, fc.record({ spec: fc.record({ parentRefs, rules: rules(httpRule) }) })],
  GRPCRoute: [gatewayApi, fc.record({ spec: fc.record({ parentRefs, rules: rules(grpcRule) }) })],
  TCPRoute: [gatewayApi, fc.record({ spec: fc.record({ parentRefs, rules: rules(l4Rule) }) })],
  TLSRoute: [
    gatewayApi,
    fc.record({
      spec: fc.record({ parentRefs, hostnames: fc.constant(['*.x.example']), rules: rules(l4Rule) }),
    }),
  ],
};

const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'];
const likely = ['Service', 'HTTPRoute', 'HTTPRoute', 'GRPCRoute', 'Pod'];
const objectOf = (kinds: readonly string[]) =>
  fc.constantFrom(...kinds).chain((kind) => {
    const [apiVersion, body] = specs[kind] as (typeof specs)[string];
    return fc.tuple(metadata, body).map(([meta, rest]) => ({
      apiVersion,
      kind,
      metadata: kind === 'Namespace' ? { ...meta, name: meta.namespace, namespace: undefined } : meta,
      ...rest,
    }));
  });

/** As a source would have it: what does not pass the schema is not there. */
function typed(objects: readonly object[]): TypedObject[] {
  const items = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  const seen = new Set<string>();
  return parseManifest(items, 'x.json')
    .objects.map((parsed) => parsed.typed)
    .filter(({ kind, object: { metadata: meta } }) => {
      const key = `${kind}/${meta.namespace}/${meta.name}`;
      return seen.has(key) ? false : seen.add(key);
    });
}

/** Without these random objects seldom have to do with each other. */
const base = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'weft.dev/waypoint': 'wp' } } },
  {
    apiVersion: gatewayApi,
    kind: 'Gateway',
    metadata: { name: 'wp', namespace: 'shop' },
    spec: {
      gatewayClassName: 'weft-waypoint',
      listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'a', namespace: 'shop' },
    spec: { ports: [{ port: 80 }], selector: { app: 'a' } },
  },
];
const inputs = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: fc.constant(base) }, { weight: 1, arbitrary: fc.subarray(base) }),
    fc.array(objectOf([...Object.keys(specs), ...likely]), { minLength: 4, maxLength: 20 }),
  )
  .map(([first, others]) => typed([...first, ...others]));
const run = (objects: readonly TypedObject[]) =>
  translate(buildResources(objects), { clusterId: 'c', standalone: true });

function* backendsOf({ http, tcp, tls }: RouteSet): Iterable<Backend> {
  for (const rule of [...http, ...tls, ...(tcp === undefined ? [] : [tcp])]) yield* rule.backends;
}

function checkRoutings({ routings, services, waypoints }: Model): number {
  let rules = 0;
  for (const routing of routings.values()) {
    const service = services.get(routing.service);
    const [gatewayNamespace, gatewayName] = routing.gateway.split('/');
    expect(waypoints.has(routing.gateway)).toBe(true);
    expect(service?.waypoint?.destination).toMatchObject({
      hostname: `${gatewayName}.${gatewayNamespace}.svc.cluster.local`,
    });
    const ports = (service?.ports ?? []).map(({ servicePort }) => servicePort).sort((a, b) => a - b);
    expect(routing.ports.map(({ port }) => port)).toEqual(ports);
    for (const { routes, consumers } of routing.ports) {
      expect(consumers.every((consumer) => consumer.namespace !== service?.namespace)).toBe(true);
      for (const set of [routes, ...consumers.map((consumer) => consumer.routes)]) {
        rules += set.http.length;
        for (const { target } of backendsOf(set)) {
          if (target.kind === 'invalid') continue;
          const to = services.get(target.service);
          expect(to?.ports.some(({ servicePort }) => servicePort === target.port)).toBe(true);
        }
      }
    }
    expect(decodeServiceRouting(encodeServiceRouting(routing).any)).toEqual({ ok: true, value: routing });
  }
  return rules;
}

describe('translate() of Gateways and routes', () => {
  it('is total, and what it says holds together and can be sent', () => {
    let rules = 0;
    fc.assert(
      fc.property(inputs, (objects) => {
        const { model, statuses } = run(objects);
        for (const map of [model.routings, model.waypoints, model.services, model.workloads]) {
          const keys = [...map.keys()] as string[];
          expect(keys).toEqual(keys.toSorted());
        }
        rules += checkRoutings(model);
        for (const config of model.waypoints.values())
          expect(decodeWaypoint(encodeWaypoint(config).any)).toEqual({ ok: true, value: config });
        for (const { parents = [] } of statuses) {
          for (const { conditions } of parents) {
            expect(conditions.map(({ type }) => type)).toContain('Accepted');
            for (const { reason, message } of conditions) expect([reason, message]).not.toContain('');
          }
        }
      }),
      { numRuns: 250 },
    );
    expect(rules).toBeGreaterThan(30);
  });

  it('lets nobody but the pods of a waypoint be taken for it', () => {
    let bound = 0;
    fc.assert(
      fc.property(inputs, (objects) => {
        const { services, workloads, waypoints } = run(objects).model;
        const hostnames = new Map<string, string>(
          [...waypoints.values()].map((config) => {
            const [of, gateway] = config.gateway.split('/');
            return [`${of}/${gateway}.${of}.svc.cluster.local`, config.serviceAccount] as const;
          }),
        );
        for (const { waypoint } of [...services.values(), ...workloads.values()]) {
          if (waypoint?.destination.kind !== 'hostname') continue;
          const { hostname, namespace: of } = waypoint.destination;
          if (!hostname.endsWith('.waypoint.invalid'))
            expect([...hostnames.keys()]).toContain(`${of}/${hostname}`);
          bound++;
        }
        for (const workload of workloads.values()) {
          for (const key of workload.services.keys()) {
            const account = hostnames.get(key);
            if (account === undefined) continue;
            expect(workload).toMatchObject({ serviceAccount: account, tunnelProtocol: 'hbone' });
            expect(workload.waypoint).toBeUndefined();
          }
        }
        for (const key of hostnames.keys())
          expect(services.get(key as unknown as ServiceKey)?.waypoint).toBeUndefined();
      }),
      { numRuns: 250 },
    );
    expect(bound).toBeGreaterThan(100);
  });

  it('gives the same result for the same objects in any order', () => {
    const shuffled = inputs.chain((objects) =>
      fc.tuple(fc.constant(objects), fc.shuffledSubarray(objects, { minLength: objects.length })),
    );
    fc.assert(
      fc.property(shuffled, ([objects, other]) => {
        const a = run(objects);
        const b = run(other);
        expect(modelEqual(a.model, b.model)).toBe(true);
        expect(a.statuses).toEqual(b.statuses);
      }),
      { numRuns: 200 },
    );
  });

  it('changes nothing for services that a new route does not name', () => {
    const addition = objectOf(routeKinds).map((object) => ({
      ...object,
      metadata: { ...object.metadata, name: 'new', namespace: 'shop' },
    }));
    fc.assert(
      fc.property(inputs, addition, (objects, route) => {
        const added = typed([route]);
        fc.pre(added.length > 0);
        const before = run(objects).model;
        const after = run([...objects, ...added]).model;
        const named = new Set(
          (
            route as unknown as { spec: { parentRefs: { name: string; namespace?: string }[] } }
          ).spec.parentRefs.map((ref) => `${ref.namespace ?? 'shop'}/${ref.name}`),
        );
        for (const [key, routing] of before.routings) {
          const { namespace: of = '', name: own = '' } = before.services.get(routing.service) ?? {};
          if (!named.has(`${of}/${own}`)) expect(after.routings.get(key)).toEqual(routing);
        }
        expect(modelEqual({ ...after, routings: new Map() }, { ...before, routings: new Map() })).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
