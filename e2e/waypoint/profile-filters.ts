// The features of the mesh profile that answer or change a request: redirects, header modifiers, rewrites.

import { type Case, type Feature, path, route, to, v1 } from './profile-case.ts';

const redirect = (value: string, fields: object) => ({
  matches: [path(value)],
  filters: [{ type: 'RequestRedirect', requestRedirect: fields }],
});

function redirected(from: string, location: string, status = 302): Case {
  return { path: from, expect: { status, headers: { location } } };
}

export const redirectStatuses: readonly Feature[] = [303, 307, 308].map((status) => ({
  name: `MeshHTTPRoute${status}Redirect`,
  routes: [route(`redirect-${status}`, [redirect('/redirect', { statusCode: status })])],
  cases: [
    redirected('/redirect', 'http://echo/redirect', status),
    { ...redirected('/redirect/x?y=z', 'http://echo/redirect/x?y=z', status), method: 'POST' },
  ],
}));

export const redirectHost: Feature = {
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

export const redirectPath: Feature = {
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

export const redirectPort: Feature = {
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

export const redirectScheme: Feature = {
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

export const requestHeaders: Feature = {
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

export const backendHeaders: Feature = {
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

export const rewritePath: Feature = {
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
