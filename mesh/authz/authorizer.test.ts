// What a waypoint asks about requests: which policies count, and when only the chosen endpoint decides.

import { describe, expect, it } from 'vitest';
import { type AuthorizationPolicy, emptyHttp, emptyMatch, type Match } from '../model/authorization.ts';
import { ip, makePolicy, makeService, makeWorkload } from '../model/fixture.ts';
import { emptyDelta } from '../model/model.ts';
import type { GatewayKey } from '../model/routing.ts';
import { Store } from '../state/store.ts';
import { Authorizer } from './authorizer.ts';
import type { ConnectionFacts } from './connection.ts';
import { RequestFacts } from './http-facts.ts';

const gateway = 'shop/waypoint' as GatewayKey;
const service = makeService('shop', 'api.shop.svc');
const other = makeService('shop', 'web.shop.svc');

function request(path: string): ConnectionFacts {
  const head = {
    method: 'GET',
    scheme: 'http',
    authority: 'api',
    path,
    upgrade: undefined,
    headers: [],
  } as const;
  return {
    peer: undefined,
    sourceIp: ip('10.0.0.1'),
    destinationIp: ip('10.0.0.2'),
    destinationPort: 8080,
    http: new RequestFacts(head, undefined),
  };
}

function deny(
  name: string,
  match: Partial<Match>,
  fields: Partial<AuthorizationPolicy>,
): AuthorizationPolicy {
  const rules = [{ name: 'r', clauses: [{ matches: [{ ...emptyMatch, ...match }] }] }];
  return makePolicy('shop', name, { action: 'deny', rules, ...fields });
}

function onPath(value: string): Partial<Match> {
  return { http: { ...emptyHttp, paths: [{ kind: 'exact', value }] } };
}

function world(policies: AuthorizationPolicy[], endpoints: readonly (readonly string[])[] = [[]]) {
  const workloads = endpoints.map((names, i) =>
    makeWorkload(`w${i}`, {
      services: new Map([[service.key, []]]),
      authorizationPolicies: names.map((name) => makePolicy('shop', name).key),
    }),
  );
  const store = new Store();
  store.apply({ ...emptyDelta, policies, services: [service, other], workloads });
  return { store, snapshot: store.snapshot(), workloads };
}

describe('Authorizer.authorizeRequest()', () => {
  it('counts policies of the gateway, the service and the namespace, and no others with targets', () => {
    const targets = [
      deny('of-gateway', onPath('/gateway'), { scope: 'target', targets: [{ kind: 'gateway', gateway }] }),
      deny('of-service', onPath('/service'), {
        scope: 'workload',
        targets: [{ kind: 'service', service: service.key }],
      }),
      deny('of-namespace', onPath('/namespace'), {
        scope: 'target',
        targets: [{ kind: 'namespace', namespace: 'shop' }],
      }),
      deny('of-mesh', onPath('/mesh'), { scope: 'target', targets: [{ kind: 'namespace', namespace: '' }] }),
      deny('elsewhere', onPath('/'), {
        scope: 'target',
        targets: [
          { kind: 'gateway', gateway: 'shop/other' as GatewayKey },
          { kind: 'namespace', namespace: 'bank' },
        ],
      }),
    ];
    const { snapshot, workloads } = world(targets);
    const authorizer = new Authorizer();
    const policyAt = (path: string, scope: object) =>
      authorizer.authorizeRequest(snapshot, { gateway, ...scope }, request(path)).policy;
    const paths = ['/gateway', '/service', '/namespace', '/mesh', '/'];
    const all = ['shop/of-gateway', 'shop/of-service', 'shop/of-namespace', 'shop/of-mesh', undefined];
    expect(paths.map((path) => policyAt(path, { service }))).toEqual(all);
    expect(paths.map((path) => policyAt(path, { service, workload: workloads[0] }))).toEqual(all);
    expect(paths.map((path) => policyAt(path, { workload: workloads[0] }))).toEqual(all.with(1, undefined));
    expect(paths.map((path) => policyAt(path, { service: other }))).toEqual(all.with(1, undefined));
  });

  it('decides at once when all endpoints have the same policies', () => {
    const { snapshot } = world([deny('d', onPath('/x'), { scope: 'workload' })], [['d'], ['d']]);
    const authorizer = new Authorizer();
    const decide = (path: string) =>
      authorizer.authorizeRequest(snapshot, { gateway, service }, request(path));
    expect(decide('/x')).toMatchObject({ allowed: false, reason: 'denied-by', policy: 'shop/d', rule: 'r' });
    expect(decide('/y')).toMatchObject({ allowed: true, reason: 'no-policy' });
  });

  it('leaves it to the chosen endpoint when they differ, save for what all refuse', () => {
    const policies = [
      deny('d', onPath('/x'), { scope: 'workload' }),
      deny('n', onPath('/all'), { scope: 'namespace' }),
      makePolicy('shop', 'allow-nothing', { scope: 'workload' }),
    ];
    const { snapshot, workloads } = world(policies, [['d'], ['allow-nothing']]);
    const authorizer = new Authorizer();
    const ask = (path: string, workload = undefined as (typeof workloads)[number] | undefined) =>
      authorizer.authorizeRequest(snapshot, { gateway, service, workload }, request(path));
    expect(ask('/x')).toEqual({ allowed: true, reason: 'endpoint-decides', audits: [] });
    expect(ask('/all')).toMatchObject({ reason: 'denied-by', policy: 'shop/n' });
    expect(ask('/x', workloads[0])).toMatchObject({ reason: 'denied-by', policy: 'shop/d' });
    expect(ask('/y', workloads[0])).toMatchObject({ reason: 'no-policy' });
    expect(ask('/y', workloads[1])).toMatchObject({ reason: 'no-allow-matched' });
  });

  it('leaves it to the endpoint when a rule speaks of its address, or of a port that only it knows', () => {
    const byAddress = deny(
      'a',
      { destinationIps: [{ address: ip('10.0.0.2'), length: 32 }] },
      { scope: 'namespace' },
    );
    const byPort = deny('p', { destinationPorts: [8080] }, { scope: 'namespace' });
    const ask = (policy: AuthorizationPolicy, destinationPort: number) =>
      new Authorizer().authorizeRequest(
        world([policy]).snapshot,
        { gateway, service },
        { ...request('/'), destinationPort },
      ).reason;
    expect([ask(byAddress, 8080), ask(byPort, 0)]).toEqual(['endpoint-decides', 'endpoint-decides']);
    expect([ask(byPort, 8080), ask(byPort, 80)]).toEqual(['denied-by', 'no-policy']);
  });

  it('decides about a service without endpoints by what covers the service', () => {
    const { snapshot } = world([deny('n', onPath('/x'), { scope: 'namespace' })], []);
    const decide = (path: string) =>
      new Authorizer().authorizeRequest(snapshot, { gateway, service }, request(path)).reason;
    expect([decide('/x'), decide('/y')]).toEqual(['denied-by', 'no-policy']);
  });

  it('takes unknown facts of a connection for a hit of DENY and for a miss of ALLOW', () => {
    const { snapshot } = world([deny('d', onPath('/x'), { scope: 'namespace' })]);
    const tcp = { ...request('/'), http: undefined };
    expect(new Authorizer().authorizeRequest(snapshot, { gateway, service }, tcp).reason).toBe('denied-by');
    const rules = [{ name: '', clauses: [{ matches: [{ ...emptyMatch, ...onPath('/x') }] }] }];
    const allow = world([makePolicy('shop', 'a', { rules })]).snapshot;
    expect(new Authorizer().authorizeRequest(allow, { gateway, service }, tcp).reason).toBe(
      'no-allow-matched',
    );
    expect(new Authorizer().authorizeRequest(allow, { gateway, service }, request('/x')).reason).toBe(
      'allowed-by',
    );
  });

  it('decides by the new policies after a change, for the same facts of a request under way', () => {
    const { store, snapshot } = world([]);
    const facts = request('/x');
    const authorizer = new Authorizer();
    expect(authorizer.authorizeRequest(snapshot, { gateway, service }, facts).allowed).toBe(true);
    store.apply({ ...emptyDelta, policies: [deny('d', onPath('/x'), { scope: 'namespace' })] });
    expect(authorizer.authorizeRequest(store.snapshot(), { gateway, service }, facts).allowed).toBe(false);
    expect(authorizer.authorizeRequest(snapshot, { gateway, service }, facts).allowed).toBe(true);
  });

  it('keeps the list of candidates across changes that do not touch it', () => {
    const attached = deny('t', onPath('/x'), { scope: 'target', targets: [{ kind: 'gateway', gateway }] });
    const { store, snapshot } = world([attached]);
    const scope = { gateway, service };
    const before = snapshot.policiesForRequest(scope);
    store.apply({ ...emptyDelta, policies: [deny('x', {}, { scope: 'workload' })] });
    expect(store.snapshot().policiesForRequest(scope)).toBe(before);
    store.apply({ ...emptyDelta, policies: [{ ...attached, dryRun: true }] });
    expect(store.snapshot().policiesForRequest(scope)).not.toBe(before);
  });
});
