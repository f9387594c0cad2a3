import { describe, expect, it } from 'vitest';
import { makeService, makeWorkload } from '../mesh/model/fixture.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import type { Service } from '../mesh/model/service.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';
import type { GatewayAddress, Workload } from '../mesh/model/workload.ts';
import { Store } from '../mesh/state/store.ts';
import { passage } from './waypoint-gate.ts';

const gate = makeService('infra', 'gate.infra');
const other = makeService('infra', 'other.infra');
const gatePod = pod('gate', gate);
const otherPod = pod('other', other);
const api = makeWorkload('api', { name: 'api', waypoint: at('gate.infra') });
const web: Identity = identity('shop', 'web');

function pod(serviceAccount: string, service: Service): Workload {
  return makeWorkload(`${serviceAccount}-1`, {
    namespace: 'infra',
    serviceAccount,
    services: new Map([[service.key, []]]),
  });
}

function at(hostname: string): GatewayAddress {
  return { destination: { kind: 'hostname', namespace: 'infra', hostname }, hboneMtlsPort: 15_008 };
}

function identity(namespace: string, serviceAccount: string, trustDomain = 'cluster.local'): Identity {
  return { trustDomain, namespace, serviceAccount };
}

function pass(
  peer: Identity | undefined,
  { workload = api, services = [gate, other], workloads = [gatePod, otherPod] } = {},
) {
  const store = new Store();
  store.apply({ ...emptyDelta, workloads: [...workloads, workload], services });
  return passage(store.snapshot(), workload, peer);
}

describe('passage()', () => {
  it('leaves a workload without waypoint to its policies', () => {
    const { waypoint: _, ...workload } = api;
    expect(pass(web, { workload })).toEqual({ kind: 'direct' });
    expect(pass(undefined, { workload })).toEqual({ kind: 'direct' });
  });

  it('trusts the identity of a pod of the waypoint, also of one that is not ready', () => {
    expect(pass(identity('infra', 'gate'))).toEqual({ kind: 'from-waypoint' });
    const unready = { ...gatePod, health: 'unhealthy' } as const;
    expect(pass(identity('infra', 'gate'), { workloads: [unready] })).toEqual({ kind: 'from-waypoint' });
  });

  it('refuses everybody else, naming the waypoint and the caller', () => {
    const reason = (caller: string) =>
      `connection denied: workload api is reached through its waypoint gate.infra only, and this is ${caller}`;
    expect(pass(web)).toEqual({
      kind: 'refused',
      reason: reason('spiffe://cluster.local/ns/shop/sa/web'),
    });
    expect(pass(undefined)).toEqual({ kind: 'refused', reason: reason('a caller without identity') });
  });

  it.each([
    identity('infra', 'other'),
    identity('shop', 'gate'),
    identity('infra', 'gate', 'elsewhere'),
    identity('infra', 'gate2'),
  ])('takes no other identity for the waypoint: %o', (peer) => {
    expect(pass(peer).kind).toBe('refused');
  });

  it('trusts the waypoints of the services that the workload serves, weighted ones too', () => {
    const served = (service: Partial<Service>) => {
      const shop = makeService('shop', 'api.shop', service);
      const workload = { ...api, services: new Map([[shop.key, []]]) };
      return pass(identity('infra', 'other'), { workload, services: [gate, other, shop] }).kind;
    };
    expect(served({})).toBe('refused');
    expect(served({ waypoint: at('other.infra') })).toBe('from-waypoint');
    const weightedWaypoints = [{ destination: at('other.infra'), weight: 0 }];
    expect(served({ weightedWaypoints })).toBe('from-waypoint');
  });

  it('trusts identities that the Service of the waypoint names while none of its pods is known', () => {
    const named = { ...gate, subjectAltNames: ['spiffe://cluster.local/ns/infra/sa/gate'] };
    const none = { services: [named], workloads: [] };
    expect(pass(identity('infra', 'gate'), none)).toEqual({ kind: 'from-waypoint' });
    expect(pass(web, none).kind).toBe('refused');
  });

  it('refuses while the waypoint is missing, or leaves it to policies where that is l4-only', () => {
    const lenient = { ...api, waypointMissing: 'l4-only' } as const;
    const unready = { ...gatePod, health: 'unhealthy' } as const;
    for (const workloads of [[], [unready]]) {
      expect(pass(web, { workloads }).kind).toBe('refused');
      expect(pass(web, { workload: lenient, workloads })).toEqual({ kind: 'direct' });
      expect(pass(undefined, { workload: lenient, workloads })).toEqual({ kind: 'direct' });
    }
    expect(pass(web, { workload: lenient }).kind).toBe('refused');
    expect(pass(web, { workload: lenient, services: [] }).kind).toBe('direct');
  });
});
