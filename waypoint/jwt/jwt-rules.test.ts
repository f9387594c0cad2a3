import { describe, expect, it } from 'vitest';
import { makeService, makeWorkload } from '../../mesh/model/fixture.ts';
import { emptyDelta } from '../../mesh/model/model.ts';
import type {
  JwtRule,
  RequestAuthentication,
  RequestAuthenticationKey,
  RequestTarget,
} from '../../mesh/model/request-authentication.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import { Store } from '../../mesh/state/store.ts';
import { JwtRules } from './jwt-rules.ts';

const gateway = 'shop/waypoint' as GatewayKey;
const service = makeService('shop', 'api.shop.svc');
const other = makeService('bank', 'db.bank.svc');

function authentication(name: string, ...targets: RequestTarget[]): RequestAuthentication {
  const rule: JwtRule = {
    issuer: name,
    audiences: [],
    keys: { kind: 'inline', jwks: '{"keys":[]}' },
    locations: [{ kind: 'header', name: 'authorization', prefix: 'Bearer ' }],
    claimHeaders: [],
    forward: false,
    payloadHeader: undefined,
  };
  return { key: `shop/${name}` as RequestAuthenticationKey, namespace: 'shop', targets, rules: [rule] };
}

function world(...requestAuthentications: RequestAuthentication[]) {
  const store = new Store();
  store.apply({ ...emptyDelta, requestAuthentications });
  const rules = new JwtRules(gateway);
  const issuers = (destination: Parameters<JwtRules['rulesFor']>[1]): string[] =>
    rules.rulesFor(store.snapshot(), destination).map(({ issuer }) => issuer);
  return { store, rules, issuers };
}

describe('JwtRules.rulesFor()', () => {
  it('gathers what is attached to the gateway, the service, its namespace and the mesh', () => {
    const { issuers } = world(
      authentication('e-elsewhere', { kind: 'gateway', gateway: 'shop/other' as GatewayKey }),
      authentication('d-mesh', { kind: 'namespace', namespace: '' }),
      authentication('c-gateway', { kind: 'gateway', gateway }),
      authentication('b-namespace', { kind: 'namespace', namespace: 'shop' }),
      authentication('a-service', { kind: 'service', service: service.key }, { kind: 'gateway', gateway }),
    );
    expect(issuers({ service })).toEqual(['a-service', 'b-namespace', 'c-gateway', 'd-mesh']);
    expect(issuers({ service: other })).toEqual(['a-service', 'c-gateway', 'd-mesh']);
  });

  it('holds a request to a workload to the rules of all its services', () => {
    const { issuers } = world(
      authentication('a', { kind: 'service', service: service.key }),
      authentication('b', { kind: 'service', service: other.key }),
    );
    const services = new Map([[service.key, []]]);
    expect(issuers({ workload: makeWorkload('w', { services }) })).toEqual(['a']);
  });

  it('gives the same array until what is behind it changes', () => {
    const one = authentication('a', { kind: 'service', service: service.key });
    const { store, rules } = world(one);
    const before = rules.rulesFor(store.snapshot(), { service });
    const unrelated = authentication('b', { kind: 'service', service: other.key });
    store.apply({ ...emptyDelta, requestAuthentications: [unrelated] });
    expect(rules.rulesFor(store.snapshot(), { service })).toBe(before);
    const targets = [...one.targets, { kind: 'gateway', gateway } as const];
    store.apply({ ...emptyDelta, requestAuthentications: [{ ...one, targets }] });
    expect(rules.rulesFor(store.snapshot(), { service })).not.toBe(before);
    store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, requestAuthentications: [one.key] } });
    expect(rules.rulesFor(store.snapshot(), { service })).toEqual([]);
  });
});
