// What the Gateway API's mesh conformance tests (v1.6.3, core and extended) ask of a mesh, as data: for each the routes,
// and requests with what must become of them. Own manifests of the same meaning. Stricter than the suite: locations
// whole, headers exact, and what must not happen is asked too.

import {
  type Backend,
  type Expected,
  type Feature,
  header,
  path,
  query,
  route,
  to,
  unrouted,
  v1,
  v2,
} from './profile-case.ts';
import {
  backendHeaders,
  redirectHost,
  redirectPath,
  redirectPort,
  redirectScheme,
  redirectStatuses,
  requestHeaders,
  rewritePath,
} from './profile-filters.ts';

const basic: Feature = { name: 'MeshBasic', routes: [], cases: [{ path: '/', expect: {} }] };

const matching: Feature = {
  name: 'MeshHTTPRouteMatching',
  routes: [
    route('matching', [
      { matches: [path('/'), header('version', 'one')], ...to('echo-v1') },
      { matches: [path('/v2'), header('version', 'two')], ...to('echo-v2') },
    ]),
  ],
  cases: [
    { path: '/', expect: v1 },
    { path: '/example', expect: v1 },
    { path: '/', headers: { Version: 'one' }, expect: v1 },
    { path: '/v2', expect: v2 },
    { path: '/v2/example', expect: v2 },
    { path: '/', headers: { Version: 'two' }, expect: v2 },
    { path: '/v2/', expect: v2 },
    { path: '/v2example', expect: v1 },
    { path: '/foo/v2/example', expect: v1 },
    { path: '/?/v2', expect: v1 },
    // A path is more specific than a header, of whichever length.
    { path: '/v2', headers: { version: 'one' }, expect: v2 },
    { path: '/', headers: { version: 'TWO' }, expect: v1 },
  ],
};

const queryParams: Feature = {
  name: 'MeshHTTPRouteQueryParamMatching',
  routes: [
    route('query', [
      { matches: [query('whale')], ...to('echo-v1') },
      { matches: [query('dolphin')], ...to('echo-v2') },
      { matches: [{ ...path('/path1'), ...query('whale') }], ...to('echo-v1') },
      { matches: [{ ...header('version', 'one'), ...query('whale') }], ...to('echo-v2') },
      {
        matches: [
          { ...path('/path3'), ...query('shark') },
          { ...path('/path4'), ...header('version', 'three'), ...query('kraken') },
        ],
        ...to('echo-v1'),
      },
      { matches: [path('/path5')], ...to('echo-v1') },
      { matches: [query('hydra')], ...to('echo-v2') },
    ]),
  ],
  cases: [
    { path: '/?animal=whale', expect: v1 },
    { path: '/?animal=dolphin', expect: v2 },
    { path: '/?animal=whale&otherparam=irrelevant', expect: v1 },
    { path: '/?animal=dolphin&color=yellow', expect: v2 },
    { path: '/?color=blue', expect: unrouted },
    { path: '/?animal=dog', expect: unrouted },
    { path: '/?animal=whaledolphin', expect: unrouted },
    { path: '/', expect: unrouted },
    { path: '/path1?animal=whale', expect: v1 },
    { path: '/?animal=whale', headers: { version: 'one' }, expect: v2 },
    { path: '/path3?animal=shark', expect: v1 },
    { path: '/path4?animal=kraken', headers: { version: 'three' }, expect: v1 },
    { path: '/?animal=shark', expect: unrouted },
    { path: '/path4?animal=kraken', expect: unrouted },
    { path: '/path5?animal=hydra', expect: v1 },
    { path: '/?animal=Whale', expect: unrouted },
  ],
};

const namedRule: Feature = {
  name: 'MeshHTTPRouteNamedRule',
  routes: [
    route('named', [
      { name: 'named-rule', matches: [path('/named')], ...to('echo-v1') },
      { matches: [path('/unnamed')], ...to('echo-v2') },
    ]),
  ],
  cases: [
    { path: '/named', expect: { ...v1, seen: { path: '/named' } } },
    { path: '/unnamed', expect: { ...v2, seen: { path: '/unnamed' } } },
    { path: '/neither', expect: unrouted },
  ],
};

const simple: Feature = {
  name: 'MeshHTTPRouteSimpleSameNamespace',
  routes: [route('simple', [to('echo-v1')])],
  cases: [{ path: '/', expect: v1 }],
};

const split: Feature = {
  name: 'MeshTrafficSplit',
  routes: [
    route(
      'split',
      [
        { matches: [path('/v1', 'Exact')], ...to('echo-v1', 80) },
        { matches: [path('/v2', 'Exact')], ...to('echo-v2', 80) },
      ],
      { parentPort: 'any' },
    ),
  ],
  cases: [
    { path: '/v1', expect: v1 },
    { path: '/v2', expect: v2 },
    { path: '/v1?a=b', expect: v1 },
    { path: '/v1/', expect: unrouted },
    { path: '/V1', expect: unrouted },
  ],
};

const responding = (value: string) => ({
  filters: [
    { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'X-Header-Set', value }] } },
  ],
});
const untouched = (expected: Expected): Expected => ({ ...expected, absent: ['x-header-set'] });
const touched = (expected: Expected, value: string): Expected => ({
  ...expected,
  headers: { 'x-header-set': value },
});

/** @param podAddresses of echo-v2 */
function frontend(podAddresses: readonly string[]): Feature {
  return {
    name: 'MeshFrontend and MeshFrontendHostname',
    routes: [
      route('frontend', [{ ...responding('set'), ...to('echo-v2', 80) }], {
        parent: 'echo-v2',
        parentPort: 'any',
      }),
    ],
    cases: [
      { host: 'echo-v2', path: '/', expect: touched(v2, 'set') },
      ...podAddresses.map((host) => ({ host, port: 8080, path: '/', expect: untouched(v2) })),
      // By the address that was dialled, whatever the Host header says.
      { host: 'echo-v2', path: '/', headers: { Host: 'echo-v1' }, expect: touched(v2, 'set') },
      { host: 'echo-v1', path: '/', headers: { Host: 'echo-v2' }, expect: untouched(v1) },
      ...podAddresses.map((host) => ({
        host,
        port: 8080,
        path: '/',
        headers: { Host: 'echo-v2' },
        expect: untouched(v2),
      })),
    ],
  };
}

const consumer: Feature = {
  name: 'MeshConsumerRoute',
  routes: [
    route(
      'consumer',
      [{ ...responding('set'), backendRefs: [{ name: 'echo-v1', namespace: 'shop', port: 80 }] }],
      {
        namespace: 'buyers',
        parent: 'echo-v1',
        parentNamespace: 'shop',
        parentPort: 'any',
      },
    ),
  ],
  cases: [
    { from: 'buyers', host: 'echo-v1.shop', path: '/', expect: touched(v1, 'set') },
    { from: 'shop', host: 'echo-v1.shop', path: '/', expect: untouched(v1) },
    { from: 'buyers', host: 'echo-v2.shop', path: '/', expect: untouched(v2) },
  ],
};

const ports: Feature = {
  name: 'MeshPorts',
  routes: [
    route('port-80', [{ ...responding('v1'), ...to('echo-v1', 80) }], { parent: 'echo-v1', parentPort: 80 }),
    route('any-port', [{ ...responding('v2'), ...to('echo-v2', 80) }], {
      parent: 'echo-v2',
      parentPort: 'any',
    }),
  ],
  cases: [
    { host: 'echo-v1', path: '/', expect: touched(v1, 'v1') },
    { host: 'echo-v1', port: 8080, path: '/', expect: untouched(v1) },
    { host: 'echo-v2', path: '/', expect: touched(v2, 'v2') },
    { host: 'echo-v2', port: 8080, path: '/', expect: touched(v2, 'v2') },
  ],
};

const weighted = (port: number) => ({
  backendRefs: [
    { name: 'echo-v1', port, weight: 70 },
    { name: 'echo-v2', port, weight: 30 },
    // Nobody is told about one that does not exist, as long as it gets nothing.
    { name: 'echo-v3', port, weight: 0 },
  ],
});

/** Features whose answers stand for themselves; weights are counted. @param podAddresses of echo-v2 */
export function features(podAddresses: readonly string[]): readonly Feature[] {
  return [
    basic,
    matching,
    queryParams,
    namedRule,
    simple,
    split,
    ...redirectStatuses,
    redirectHost,
    redirectPath,
    redirectPort,
    redirectScheme,
    requestHeaders,
    backendHeaders,
    rewritePath,
    frontend(podAddresses),
    consumer,
    ports,
  ];
}

/** All requests of Service `echo` go to one backend. */
export function routeTo(backend: Backend): readonly object[] {
  return [route(`to-${backend}`, [to(backend)])];
}

export const httpWeights: readonly object[] = [route('weights', [weighted(8080)])];
export const noWeight: readonly object[] = [
  route('no-weight', [
    {
      backendRefs: [
        { name: 'echo-v1', port: 8080, weight: 1 },
        { name: 'echo-v2', port: 8080, weight: 0 },
      ],
    },
  ]),
];
export const grpcWeights: readonly object[] = [
  route('grpc-weights', [weighted(7070)], { kind: 'GRPCRoute', parentPort: 7070 }),
];
