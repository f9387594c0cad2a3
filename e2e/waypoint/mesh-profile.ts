// What the Gateway API's mesh conformance tests (v1.6.3, core and extended) ask of a mesh, as data: for each the routes,
// and requests with what must become of them. Own manifests of the same meaning. Stricter than the suite: locations
// whole, headers exact, and what must not happen is asked too.

import type { Call } from './caller-main.ts';

export type Backend = 'echo-v1' | 'echo-v2';

export interface Expected {
  /** Default 200. */
  readonly status?: number;
  /** The pod that answers; default either. */
  readonly backend?: Backend;
  /** Of the request as the application saw it; a list for several lines or values. */
  readonly seen?: { readonly path?: string; readonly headers?: Readonly<Record<string, readonly string[]>> };
  readonly notSeen?: readonly string[];
  /** Of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly absent?: readonly string[];
}

/** Without host, the Service `echo`; port 80 unless given. */
export interface Case extends Partial<Call> {
  readonly from?: 'shop' | 'buyers';
  readonly expect: Expected;
}

export interface Feature {
  /** The conformance test's ShortName. */
  readonly name: string;
  readonly routes: readonly object[];
  readonly cases: readonly Case[];
}

interface RouteFields {
  readonly kind?: 'HTTPRoute' | 'GRPCRoute';
  readonly parent?: string;
  readonly parentPort?: number | 'any';
  readonly parentNamespace?: string;
  readonly namespace?: string;
}

function route(name: string, rules: readonly object[], fields: RouteFields = {}): object {
  const {
    kind = 'HTTPRoute',
    parent = 'echo',
    parentPort = 80,
    parentNamespace,
    namespace = 'shop',
  } = fields;
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name, namespace },
    spec: {
      parentRefs: [
        {
          group: '',
          kind: 'Service',
          name: parent,
          ...(parentPort !== 'any' && { port: parentPort }),
          ...(parentNamespace !== undefined && { namespace: parentNamespace }),
        },
      ],
      rules,
    },
  };
}

const path = (value: string, type = 'PathPrefix') => ({ path: { type, value } });
const header = (name: string, value: string) => ({ headers: [{ name, value }] });
const query = (value: string) => ({ queryParams: [{ name: 'animal', value }] });
const to = (name: string, port = 8080, more: object = {}) => ({ backendRefs: [{ name, port, ...more }] });
const v1: Expected = { backend: 'echo-v1' };
const v2: Expected = { backend: 'echo-v2' };
const unrouted: Expected = { status: 404 };

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

const redirect = (value: string, fields: object) => ({
  matches: [path(value)],
  filters: [{ type: 'RequestRedirect', requestRedirect: fields }],
});

function redirected(from: string, location: string, status = 302): Case {
  return { path: from, expect: { status, headers: { location } } };
}

const redirectStatuses: readonly Feature[] = [303, 307, 308].map((status) => ({
  name: `MeshHTTPRoute${status}Redirect`,
  routes: [route(`redirect-${status}`, [redirect('/redirect', { statusCode: status })])],
  cases: [
    redirected('/redirect', 'http://echo/redirect', status),
    { ...redirected('/redirect/x?y=z', 'http://echo/redirect/x?y=z', status), method: 'POST' },
  ],
}));

const redirectHost: Feature = {
  name: 'MeshHTTPRouteRedirectHostAndStatus',
  routes: [
    route('redirect-host', [
      redirect('/hostname-redirect', { hostname: 'example.org' }),
      redirect('/host-and-status', { hostname: 'example.org', statusCode: 301 }),
    ]),
  ],
  cases: [
    redirected('/hostname-redirect', 'http://example.org/hostname-redirect'),
    redirected('/host-and-status', 'http://example.org/host-and-status', 301),
  ],
};

const prefixTo = (value: string) => ({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch: value } });
const fullTo = (value: string) => ({ path: { type: 'ReplaceFullPath', replaceFullPath: value } });

const redirectPath: Feature = {
  name: 'MeshHTTPRouteRedirectPath',
  routes: [
    route('redirect-path', [
      redirect('/original-prefix', prefixTo('/replacement-prefix')),
      redirect('/full', fullTo('/full-path-replacement')),
      redirect('/path-and-host', { hostname: 'example.org', ...prefixTo('/replacement-prefix') }),
      redirect('/path-and-status', { statusCode: 301, ...prefixTo('/replacement-prefix') }),
      redirect('/full-path-and-host', { hostname: 'example.org', ...fullTo('/replacement-full') }),
      redirect('/full-path-and-status', { statusCode: 301, ...fullTo('/replacement-full') }),
    ]),
  ],
  cases: [
    redirected('/original-prefix/lemon', 'http://echo/replacement-prefix/lemon'),
    redirected('/full/path/original', 'http://echo/full-path-replacement'),
    redirected('/path-and-host', 'http://example.org/replacement-prefix'),
    redirected('/path-and-status', 'http://echo/replacement-prefix', 301),
    redirected('/full-path-and-host', 'http://example.org/replacement-full'),
    redirected('/full-path-and-status', 'http://echo/replacement-full', 301),
  ],
};

const redirectPort: Feature = {
  name: 'MeshHTTPRouteRedirectPort',
  routes: [
    route('redirect-port', [
      redirect('/port', { port: 8083 }),
      redirect('/port-and-host', { port: 8083, hostname: 'example.org' }),
      redirect('/port-and-status', { port: 8083, statusCode: 301 }),
      redirect('/port-and-host-and-status', { port: 8083, hostname: 'example.org', statusCode: 302 }),
    ]),
  ],
  cases: [
    redirected('/port', 'http://echo:8083/port'),
    redirected('/port-and-host', 'http://example.org:8083/port-and-host'),
    redirected('/port-and-status', 'http://echo:8083/port-and-status', 301),
    redirected('/port-and-host-and-status', 'http://example.org:8083/port-and-host-and-status'),
  ],
};

const redirectScheme: Feature = {
  name: 'MeshHTTPRouteSchemeRedirect',
  routes: [
    route('redirect-scheme', [
      redirect('/scheme', { scheme: 'https' }),
      redirect('/scheme-and-host', { scheme: 'https', hostname: 'example.org' }),
      redirect('/scheme-and-status', { scheme: 'https', statusCode: 301 }),
      redirect('/scheme-and-host-and-status', { scheme: 'https', hostname: 'example.org', statusCode: 302 }),
    ]),
  ],
  cases: [
    redirected('/scheme', 'https://echo/scheme'),
    redirected('/scheme-and-host', 'https://example.org/scheme-and-host'),
    redirected('/scheme-and-status', 'https://echo/scheme-and-status', 301),
    redirected('/scheme-and-host-and-status', 'https://example.org/scheme-and-host-and-status'),
  ],
};

const modifications: readonly (readonly [path: string, modifier: object])[] = [
  ['/set', { set: [{ name: 'X-Header-Set', value: 'set-overwrites-values' }] }],
  ['/add', { add: [{ name: 'X-Header-Add', value: 'add-appends-values' }] }],
  ['/remove', { remove: ['X-Header-Remove'] }],
  [
    '/multiple',
    {
      set: [
        { name: 'X-Header-Set-1', value: 'header-set-1' },
        { name: 'X-Header-Set-2', value: 'header-set-2' },
      ],
      add: [
        { name: 'X-Header-Add-1', value: 'header-add-1' },
        { name: 'X-Header-Add-2', value: 'header-add-2' },
        { name: 'X-Header-Add-3', value: 'header-add-3' },
      ],
      remove: ['X-Header-Remove-1', 'X-Header-Remove-2'],
    },
  ],
  [
    '/case-insensitivity',
    {
      set: [{ name: 'X-Header-Set', value: 'header-set' }],
      add: [{ name: 'X-Header-Add', value: 'header-add' }],
      remove: ['X-Header-Remove'],
    },
  ],
];

const modified = (requestHeaderModifier: object) => ({
  filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier }],
});

const modifierCases: readonly Case[] = [
  seenWith('/set', { 'Some-Other-Header': 'val' }, { 'x-header-set': ['set-overwrites-values'] }),
  seenWith('/set', { 'X-Header-Set': 'some-other-value' }, { 'x-header-set': ['set-overwrites-values'] }),
  seenWith('/add', { 'Some-Other-Header': 'val' }, { 'x-header-add': ['add-appends-values'] }),
  seenWith('/add', { 'X-Header-Add': 'mine' }, { 'x-header-add': ['mine', 'add-appends-values'] }),
  seenWith('/remove', { 'X-Header-Remove': 'val' }, {}, ['x-header-remove']),
  seenWith(
    '/multiple',
    {
      'X-Header-Set-2': 'set-val-2',
      'X-Header-Add-2': 'add-val-2',
      'X-Header-Remove-2': 'remove-val-2',
      'Another-Header': 'another-header-val',
    },
    {
      'x-header-set-1': ['header-set-1'],
      'x-header-set-2': ['header-set-2'],
      'x-header-add-1': ['header-add-1'],
      'x-header-add-2': ['add-val-2', 'header-add-2'],
      'x-header-add-3': ['header-add-3'],
      'another-header': ['another-header-val'],
    },
    ['x-header-remove-1', 'x-header-remove-2'],
  ),
  seenWith(
    '/case-insensitivity',
    {
      'x-header-set': 'original-val-set',
      'x-header-add': 'original-val-add',
      'x-header-remove': 'original-val-remove',
    },
    { 'x-header-set': ['header-set'], 'x-header-add': ['original-val-add', 'header-add'] },
    ['x-header-remove'],
  ),
];

function seenWith(
  path_: string,
  headers: Record<string, string>,
  seen: Record<string, readonly string[]>,
  notSeen: readonly string[] = [],
): Case {
  return { path: path_, headers, expect: { ...v1, seen: { path: path_, headers: seen }, notSeen } };
}

const requestHeaders: Feature = {
  name: 'MeshHTTPRouteRequestHeaderModifier',
  routes: [
    route(
      'request-headers',
      modifications.map(([at, modifier]) => ({
        matches: [path(at)],
        ...modified(modifier),
        ...to('echo-v1'),
      })),
    ),
  ],
  cases: modifierCases,
};

const backendHeaders: Feature = {
  name: 'MeshHTTPRouteBackendRequestHeaderModifier',
  routes: [
    route(
      'backend-headers',
      modifications.map(([at, modifier]) => ({
        matches: [path(at)],
        ...to('echo-v1', 8080, modified(modifier)),
      })),
    ),
  ],
  cases: modifierCases,
};

const rewrite = (to_: object, ...more: object[]) => ({
  filters: [{ type: 'URLRewrite', urlRewrite: to_ }, ...more],
});
const rewriteModifier = {
  type: 'RequestHeaderModifier',
  requestHeaderModifier: {
    set: [{ name: 'X-Header-Set', value: 'set-overwrites-values' }],
    add: [
      { name: 'X-Header-Add', value: 'header-val-1' },
      { name: 'X-Header-Add-Append', value: 'header-val-2' },
    ],
    remove: ['X-Header-Remove'],
  },
};

const rewritePath: Feature = {
  name: 'MeshHTTPRouteRewritePath',
  routes: [
    route('rewrite', [
      { matches: [path('/prefix/one')], ...rewrite(prefixTo('/one')), ...to('echo-v1', 80) },
      { matches: [path('/strip-prefix')], ...rewrite(prefixTo('/')), ...to('echo-v1', 80) },
      { matches: [path('/full/one')], ...rewrite(fullTo('/one')), ...to('echo-v1', 80) },
      {
        matches: [path('/full/rewrite-path-and-modify-headers')],
        ...rewrite(fullTo('/test'), rewriteModifier),
        ...to('echo-v1', 80),
      },
      {
        matches: [path('/prefix/rewrite-path-and-modify-headers')],
        ...rewrite(prefixTo('/prefix'), rewriteModifier),
        ...to('echo-v1', 80),
      },
    ]),
  ],
  cases: [
    { path: '/prefix/one/two', expect: { ...v1, seen: { path: '/one/two' } } },
    { path: '/strip-prefix/three', expect: { ...v1, seen: { path: '/three' } } },
    { path: '/strip-prefix', expect: { ...v1, seen: { path: '/' } } },
    { path: '/full/one/two', expect: { ...v1, seen: { path: '/one' } } },
    ...(
      [
        ['/full/rewrite-path-and-modify-headers/test', '/test'],
        ['/prefix/rewrite-path-and-modify-headers/one', '/prefix/one'],
      ] as const
    ).map(([from, seen]) => ({
      path: from,
      headers: {
        'X-Header-Remove': 'remove-val',
        'X-Header-Add-Append': 'append-val-1',
        'X-Header-Set': 'set-val',
      },
      expect: {
        ...v1,
        seen: {
          path: seen,
          headers: {
            'x-header-add': ['header-val-1'],
            'x-header-add-append': ['append-val-1', 'header-val-2'],
            'x-header-set': ['set-overwrites-values'],
          },
        },
        notSeen: ['x-header-remove'],
      },
    })),
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
