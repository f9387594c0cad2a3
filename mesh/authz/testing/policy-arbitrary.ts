// Random policies, connections and requests from a small universe, so that hits, misses and shared keys are all frequent.

import fc from 'fast-check';
import type {
  AuthorizationPolicy,
  HttpMatchConditions,
  Match,
  Rule,
  StringMatch,
} from '../../model/authorization.ts';
import { ip, makePolicy } from '../../model/fixture.ts';
import { type Cidr, ipBits, parseCidr } from '../../model/ip-address.ts';
import { formatPrincipal } from '../../model/spiffe-id.ts';
import type { ConnectionFacts } from '../connection.ts';
import type { HttpFacts } from '../http-facts.ts';

const names = ['a', 'b', ''];
const addresses = ['10.0.0.1', '10.0.0.2', '10.128.0.1', '2001:db8::1', '2001:db8:8000::1'].map(ip);
const identities = ['td', 'other'].flatMap((trustDomain) =>
  ['a', 'b'].flatMap((namespace) =>
    ['x', 'y'].map((serviceAccount) => ({ trustDomain, namespace, serviceAccount })),
  ),
);
const principals = identities.map(formatPrincipal);

function few<T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(item, { maxLength: 3 }) },
  );
}

function strings(values: readonly string[]): fc.Arbitrary<StringMatch[]> {
  const value = fc.constantFrom(...values);
  const cut = fc.tuple(value, fc.nat(20));
  return few(
    fc.oneof(
      { weight: 4, arbitrary: value.map((text) => ({ kind: 'exact' as const, value: text })) },
      cut.map(([text, n]) => ({ kind: 'prefix' as const, value: text.slice(0, n) })),
      cut.map(([text, n]) => ({ kind: 'suffix' as const, value: text.slice(-n) })),
      fc.constant({ kind: 'presence' as const }),
    ),
  );
}

const cidr = fc.oneof(
  fc.constantFrom(
    ...['10.0.0.0/30', '10.0.0.1', '10.128.0.0/9', '0.0.0.0/0', '::/0', '2001:db8::/33', '2001:db8::1'].map(
      parseCidr,
    ),
  ),
  fc.constantFrom(...addresses).map((address) => ({ address, length: ipBits(address) - 1 })),
) as fc.Arbitrary<Cidr>;
const account = fc.record({
  namespace: fc.constantFrom(...names),
  serviceAccount: fc.constantFrom('x', 'y'),
});
const port = fc.constantFrom(80, 443, 8080);

const l4Match: fc.Arbitrary<Match> = fc.record({
  namespaces: strings(names),
  notNamespaces: strings(names),
  principals: strings(principals),
  notPrincipals: strings(principals),
  sourceIps: few(cidr),
  notSourceIps: few(cidr),
  destinationIps: few(cidr),
  notDestinationIps: few(cidr),
  destinationPorts: few(port),
  notDestinationPorts: few(port),
  serviceAccounts: few(account),
  notServiceAccounts: few(account),
});
export const hosts = ['a.test', 'b.test', ''];
export const paths = ['/', '/a', '/a/b', '/a/b/c', '/b'];
export const tokens = ['iss/ann', 'iss/bob', ''];
const template = fc
  .constantFrom('/{*}', '/a/{*}', '/a/{**}', '/{*}/b/{**}', '/{**}/b')
  .map((value) => ({ kind: 'template' as const, value }));
const conditions = { values: strings(['x', 'y', 'xy']), notValues: strings(['x', 'y', 'xy']) };

const http: fc.Arbitrary<HttpMatchConditions> = fc.record({
  hosts: strings(hosts),
  notHosts: strings(hosts),
  methods: strings(['GET', 'POST']),
  notMethods: strings(['GET', 'POST']),
  paths: fc.tuple(strings(paths), few(template)).map(([texts, templates]) => [...texts, ...templates]),
  notPaths: fc.tuple(strings(paths), few(template)).map(([texts, templates]) => [...texts, ...templates]),
  requestPrincipals: strings(tokens),
  notRequestPrincipals: strings(tokens),
  headers: few(fc.record({ name: fc.constantFrom('x-a', 'x-b'), ...conditions })),
  claims: few(fc.record({ path: fc.constantFrom(['role'], ['realm', 'roles'], ['scope']), ...conditions })),
});

const match: fc.Arbitrary<Match> = fc
  .tuple(l4Match, fc.option(http, { nil: undefined }))
  .map(([l4, l7]) => (l7 === undefined ? l4 : { ...l4, http: l7 }));
const rule: fc.Arbitrary<Rule> = fc.record({
  name: fc.constantFrom('', 'r'),
  clauses: fc.array(fc.record({ matches: fc.array(match, { maxLength: 3 }) }), { maxLength: 3 }),
});
export const policies: fc.Arbitrary<AuthorizationPolicy[]> = fc
  .array(
    fc.record({
      action: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const, 'audit' as const),
      dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
      rules: fc.array(rule, { maxLength: 3 }),
    }),
    { maxLength: 8 },
  )
  .map((list) => list.map((fields, i) => makePolicy('shop', `p${i}`, fields)));
export const connection: fc.Arbitrary<ConnectionFacts> = fc.record({
  peer: fc.option(fc.constantFrom(...identities), { nil: undefined }),
  sourceIp: fc.constantFrom(...addresses),
  destinationIp: fc.constantFrom(...addresses),
  destinationPort: port,
});

const texts = fc.constantFrom('x', 'y', 'xy', '');
const claims = fc.record(
  {
    role: fc.oneof(texts, fc.array(texts, { maxLength: 2 }), fc.constant(true)),
    realm: fc.oneof(texts, fc.record({ roles: fc.oneof(texts, fc.array(texts, { maxLength: 2 })) })),
    scope: fc.constantFrom('x', 'x y', 'z xy'),
  },
  { requiredKeys: [] },
);

/** Facts of a request, in the form the engine asks for. */
export const request: fc.Arbitrary<HttpFacts> = fc
  .record({
    host: fc.constantFrom(...hosts),
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    path: fc.constantFrom(...paths, '/c/b/a'),
    token: fc.option(claims, { nil: undefined }),
    principal: fc.constantFrom('iss/ann', 'iss/bob'),
    lines: fc.dictionary(fc.constantFrom('x-a', 'x-b'), fc.array(texts, { maxLength: 2 })),
  })
  .map(({ token, principal, lines, ...rest }) => ({
    ...rest,
    requestPrincipal: token === undefined ? '' : principal,
    claims: token,
    headers: (name: string) => lines[name] ?? [],
  }));
