// manifests/crds in a real API server: what it accepts, what it refuses and in which words, what it fills in, and what
// kubectl shows of it.

import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiServer } from './api-server.ts';
import { applyOwnDefinitions, ownDefinitions } from './definitions.ts';
import type { Manifest } from './object-writer.ts';

let server: ApiServer;

beforeAll(async () => {
  server = await ApiServer.start();
  await applyOwnDefinitions(server);
  await server.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n');
});
afterAll(() => server.close());

const manifest = (kind: string, spec: unknown, name = 'test'): Manifest => ({
  apiVersion: 'weft.dev/v1alpha1',
  kind,
  metadata: kind === 'MeshConfig' ? { name } : { name, namespace: 'shop' },
  spec,
});
const service = { group: '', kind: 'Service', name: 'web' };
const port = { number: 80 };

const accepted: readonly (readonly [string, Manifest])[] = [
  ['a policy without rules', manifest('AuthorizationPolicy', {})],
  ['a policy for a Service', manifest('AuthorizationPolicy', { targetRefs: [service] })],
  [
    'ports as numbers and texts',
    manifest('AuthorizationPolicy', { rules: [{ to: [{ operation: { ports: [80, '443'] } }] }] }),
  ],
  [
    'every field about requests',
    manifest('AuthorizationPolicy', {
      targetRefs: [
        service,
        { group: 'weft.dev', kind: 'ServiceEntry', name: 'x' },
        { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'waypoint' },
      ],
      rules: [
        {
          from: [{ source: { requestPrincipals: ['*'], notRequestPrincipals: ['a/b'] } }],
          to: [
            { operation: { hosts: ['*.test'], methods: ['GET'], paths: ['/a/{*}/{**}'], notPaths: ['/b*'] } },
          ],
          when: [
            { key: 'request.headers[X-Tenant]', values: ['a'] },
            { key: 'request.auth.claims[realm][https://x.test/roles]', notValues: ['b'] },
            { key: 'request.auth.audiences', values: ['c'] },
          ],
        },
      ],
    }),
  ],
  [
    'tokens by URL and by value',
    manifest('RequestAuthentication', {
      selector: { matchLabels: { app: 'x' } },
      jwtRules: [
        {
          issuer: 'https://issuer.test',
          jwksUri: 'https://issuer.test/keys',
          audiences: ['shop'],
          fromHeaders: [{ name: 'Authorization', prefix: 'Bearer ' }, { name: 'x-token' }],
          fromParams: ['token'],
          fromCookies: ['session'],
          outputPayloadToHeader: 'x-payload',
          outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
        },
        { issuer: 'b', jwks: '{"keys":[]}', forwardOriginalToken: true },
      ],
    }),
  ],
  [
    'modes of ports',
    manifest('PeerAuthentication', {
      selector: { matchLabels: { app: 'x' } },
      portLevelMtls: { 80: { mode: 'STRICT' } },
    }),
  ],
  [
    'a full traffic policy',
    manifest('TrafficPolicy', {
      targetRefs: [service],
      connectTimeout: '5s',
      idleTimeout: '1h30m',
      balancing: 'PeakEWMA',
      locality: { scopes: ['Region', 'Zone'] },
      outlierDetection: { consecutiveFailures: 3 },
    }),
  ],
  [
    'a traffic policy for requests',
    manifest('TrafficPolicy', {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'web' }, service],
      balancing: 'Maglev',
      hashOn: { kind: 'Cookie', name: 'sid', ttl: '1h' },
      slowStart: '30s',
      requestTimeout: '5s',
      perTryTimeout: '2s',
      retry: { codes: [503] },
      retryBudget: { percent: 12.5 },
      hedging: { delay: '100ms' },
      rateLimits: [
        { per: 'Header', header: 'x-tenant', requests: 10, when: { pathPrefix: '/api', methods: ['GET'] } },
      ],
      faults: [{ delay: { duration: '1s', percent: 0.5 } }, { abort: { grpcStatus: 14 } }],
      outlierDetection: { consecutive5xx: 5, successRateDeviations: 1.9, maxEjectionPercent: 100 },
    }),
  ],
  [
    'a service entry',
    manifest('ServiceEntry', { hosts: ['*.example.com'], ports: [port], resolution: 'DNS' }),
  ],
  ['a workload entry', manifest('WorkloadEntry', { address: '10.0.0.1' })],
  ['mesh settings', manifest('MeshConfig', {}, 'default')],
];

const refused: readonly (readonly [string, Manifest, string])[] = [
  [
    'selector and targetRefs',
    manifest('AuthorizationPolicy', { selector: {}, targetRefs: [service] }),
    'spec: Invalid value: Fields selector and targetRefs exclude each other',
  ],
  [
    'an unknown action',
    manifest('AuthorizationPolicy', { action: 'PERMIT' }),
    'spec.action: Unsupported value: "PERMIT"',
  ],
  ['a misspelt field', manifest('AuthorizationPolicy', { rulez: [] }), 'unknown field "spec.rulez"'],
  [
    'a port that is none',
    manifest('AuthorizationPolicy', { rules: [{ to: [{ operation: { ports: [70000] } }] }] }),
    'spec.rules[0].to[0].operation.ports[0]',
  ],
  [
    'a port text that is none',
    manifest('AuthorizationPolicy', { rules: [{ to: [{ operation: { ports: ['http'] } }] }] }),
    'spec.rules[0].to[0].operation.ports[0]',
  ],
  [
    'an empty source',
    manifest('AuthorizationPolicy', { rules: [{ from: [{ source: {} }] }] }),
    'spec.rules[0].from[0].source',
  ],
  [
    'a condition without values',
    manifest('AuthorizationPolicy', { rules: [{ when: [{ key: 'source.ip' }] }] }),
    'spec.rules[0].when[0]: Invalid value: Either values or notValues is needed',
  ],
  [
    'an attribute nobody knows',
    manifest('AuthorizationPolicy', { rules: [{ when: [{ key: 'request.body', values: ['a'] }] }] }),
    'spec.rules[0].when[0].key',
  ],
  [
    'no keys',
    manifest('RequestAuthentication', { jwtRules: [{ issuer: 'a' }] }),
    'spec.jwtRules[0]: Invalid value: Exactly one of jwks and jwksUri is needed',
  ],
  [
    'keys twice',
    manifest('RequestAuthentication', { jwtRules: [{ issuer: 'a', jwks: '{}', jwksUri: 'http://a/' }] }),
    'spec.jwtRules[0]: Invalid value: Exactly one of jwks and jwksUri is needed',
  ],
  [
    'keys from a file',
    manifest('RequestAuthentication', { jwtRules: [{ issuer: 'a', jwksUri: 'file:///etc/passwd' }] }),
    'spec.jwtRules[0].jwksUri',
  ],
  [
    'a target of the wrong group',
    manifest('AuthorizationPolicy', { targetRefs: [{ ...service, group: 'apps' }] }),
    "spec.targetRefs[0]: Invalid value: A Service has group ''",
  ],
  [
    'modes of ports without a selector',
    manifest('PeerAuthentication', { portLevelMtls: { 80: { mode: 'STRICT' } } }),
    'spec: Invalid value: Modes of ports need a selector with matchLabels',
  ],
  [
    'an unknown mode',
    manifest('PeerAuthentication', { mtls: { mode: 'ON' } }),
    'spec.mtls.mode: Unsupported value: "ON"',
  ],
  ['no targets', manifest('TrafficPolicy', {}), 'spec.targetRefs: Required value'],
  [
    'a timeout out of range',
    manifest('TrafficPolicy', { targetRefs: [service], connectTimeout: '2m' }),
    'spec.connectTimeout: Invalid value: Must be between 1ms and 60s',
  ],
  [
    'a timeout that is none',
    manifest('TrafficPolicy', { targetRefs: [service], connectTimeout: 'soon' }),
    'spec.connectTimeout',
  ],
  [
    'a balancing nobody knows',
    manifest('TrafficPolicy', { targetRefs: [service], balancing: 'Best' }),
    'spec.balancing: Unsupported value',
  ],
  [
    'a hash of nothing',
    manifest('TrafficPolicy', { targetRefs: [service], balancing: 'RingHash' }),
    'spec: Invalid value: RingHash and Maglev need hashOn',
  ],
  [
    'a hash of a header without a name',
    manifest('TrafficPolicy', { targetRefs: [service], hashOn: { kind: 'Header' } }),
    'spec.hashOn: Invalid value: A Header or Cookie needs a name',
  ],
  [
    'tries that outlast the request',
    manifest('TrafficPolicy', { targetRefs: [service], requestTimeout: '1s', perTryTimeout: '2s' }),
    'The perTryTimeout must not be longer than the requestTimeout',
  ],
  [
    'a limit by a header without its name',
    manifest('TrafficPolicy', { targetRefs: [service], rateLimits: [{ per: 'Header', requests: 1 }] }),
    'spec.rateLimits[0]: Invalid value: With per Header the header is needed',
  ],
  [
    'an interval out of range',
    manifest('TrafficPolicy', { targetRefs: [service], rateLimits: [{ requests: 1, interval: '25h' }] }),
    'spec.rateLimits[0].interval: Invalid value: Must be between 1ms and 24h',
  ],
  [
    'an empty fault',
    manifest('TrafficPolicy', { targetRefs: [service], faults: [{ when: { pathPrefix: '/' } }] }),
    'spec.faults[0]: Invalid value: A fault needs a delay or an abort',
  ],
  [
    'a route of the wrong group',
    manifest('TrafficPolicy', { targetRefs: [{ kind: 'HTTPRoute', name: 'web' }] }),
    "spec.targetRefs[0]: Invalid value: A Service has group '', a ServiceEntry 'weft.dev'",
  ],
  [
    'endpoints and a selector',
    manifest('ServiceEntry', {
      hosts: ['a.example'],
      ports: [port],
      resolution: 'STATIC',
      endpoints: [{ address: '10.0.0.1' }],
      workloadSelector: { labels: { app: 'x' } },
    }),
    'Fields endpoints and workloadSelector exclude each other',
  ],
  [
    'a static entry without endpoints',
    manifest('ServiceEntry', { hosts: ['a.example'], ports: [port], resolution: 'STATIC' }),
    'Resolution STATIC needs endpoints or a workloadSelector',
  ],
  [
    'one port twice',
    manifest('ServiceEntry', { hosts: ['a.example'], ports: [port, port], resolution: 'DNS' }),
    'spec.ports[1]: Duplicate value',
  ],
  [
    'a host in capitals',
    manifest('ServiceEntry', { hosts: ['A.example'], ports: [port], resolution: 'DNS' }),
    'spec.hosts[0]',
  ],
  ['a workload without address', manifest('WorkloadEntry', {}), 'spec.address: Required value'],
  [
    'a second MeshConfig',
    manifest('MeshConfig', {}, 'other'),
    'The mesh has one MeshConfig and its name is "default"',
  ],
  [
    'an unknown access log',
    manifest('MeshConfig', { accessLog: 'SOME' }, 'default'),
    'spec.accessLog: Unsupported value',
  ],
];

describe('manifests/crds in an API server', () => {
  it('are established, with names accepted and without a warning about their schemas', async () => {
    const list = JSON.parse(await server.kubectlOk(['get', 'crd', '-o', 'json']));
    expect(list.items).toHaveLength(readdirSync(ownDefinitions).length);
    for (const { metadata, status } of list.items) {
      const states = status.conditions.map(
        ({ type, status: state }: Record<string, string>) => `${type}=${state}`,
      );
      expect(states.sort(), metadata.name).toEqual(['Established=True', 'NamesAccepted=True']);
    }
  });

  it.each(accepted)('accept %s', async (_what, object) => {
    const { stderr, status } = await dryRun(object);
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  it.each(refused)('refuse %s and name the field', async (_what, object, message) => {
    const { stderr, status } = await dryRun(object);
    expect(status).not.toBe(0);
    expect(stderr).toContain(message);
  });

  it('fill in defaults', async () => {
    const policy = await created(
      manifest('AuthorizationPolicy', { targetRefs: [{ kind: 'Service', name: 'web' }] }),
    );
    expect(policy.spec).toEqual({ action: 'ALLOW', dryRun: false, targetRefs: [service] });
    const mesh = await created(manifest('MeshConfig', {}, 'default'));
    expect(mesh.spec).toEqual({
      mtls: { mode: 'PERMISSIVE' },
      unknownDestinations: 'ALLOW',
      accessLog: 'ALL',
      sameNode: 'PROXY',
    });
    const entry = await created(manifest('WorkloadEntry', { address: '10.0.0.1' }));
    expect(entry.spec).toEqual({ address: '10.0.0.1', weight: 1 });
  });

  it('are all shown by kubectl get weft', async () => {
    for (const [index, [, object]] of accepted.entries()) {
      const name = object.kind === 'MeshConfig' ? 'default' : `shown-${index}`;
      await server.apply(JSON.stringify({ ...object, metadata: { ...object.metadata, name } }));
    }
    const shown = await server.kubectlOk(['get', 'weft', '-A', '-o', 'name']);
    const kinds = new Set(
      shown
        .trim()
        .split('\n')
        .map((line) => line.split('.')[0]),
    );
    expect([...kinds].sort((a = '', b = '') => a.localeCompare(b))).toEqual([
      'authorizationpolicy',
      'meshconfig',
      'peerauthentication',
      'requestauthentication',
      'serviceentry',
      'trafficpolicy',
      'workloadentry',
    ]);
  });

  it.each([
    ['wap', ['NAME', 'ACTION', 'DRY-RUN', 'ACCEPTED', 'AGE']],
    ['peerauthentications', ['NAME', 'MODE', 'ACCEPTED', 'AGE']],
    ['meshconfigs', ['NAME', 'TRUST-DOMAIN', 'MTLS', 'ACCEPTED', 'AGE']],
  ])('print columns of %s that tell what it does', async (kind, columns) => {
    const [head = ''] = (await server.kubectlOk(['get', kind, '-n', 'shop'])).split('\n');
    expect(head.trim().split(/\s+/)).toEqual(columns);
  });

  it.each([
    ['authorizationpolicies.spec.rules.from.source.principals', 'Identities without "spiffe://"'],
    ['trafficpolicies.spec.connectTimeout', 'Time to connect to an endpoint'],
    ['meshconfigs', 'Settings of the whole mesh'],
  ])('explain %s', async (field, text) => {
    const explained = (await server.kubectlOk(['explain', field])).replaceAll(/\s+/g, ' ');
    expect(explained).toContain(text);
  });

  it('keep status and spec apart', async () => {
    const object = {
      ...manifest('WorkloadEntry', { address: '10.0.0.1' }, 'apart'),
      status: { observedGeneration: 7 },
    };
    await server.apply(JSON.stringify(object));
    const read = JSON.parse(
      await server.kubectlOk(['get', 'workloadentry', 'apart', '-n', 'shop', '-o', 'json']),
    );
    expect(read.status).toBeUndefined();
    expect(read.metadata.generation).toBe(1);
  });
});

async function dryRun(object: Manifest) {
  const stdin = JSON.stringify(object);
  const result = await server.kubectl(['create', '--dry-run=server', '-f', '-'], { stdin });
  // Rules over a whole object or text say "object" or "string" where the value would be.
  const stderr = result.stderr.replaceAll(/Invalid value: "(object|string)":/g, 'Invalid value:');
  return { ...result, stderr };
}

async function created(object: Manifest): Promise<Manifest> {
  const args = ['apply', '--server-side', '--dry-run=server', '-o', 'json', '-f', '-'];
  return JSON.parse(await server.kubectlOk(args, JSON.stringify(object))) as Manifest;
}
