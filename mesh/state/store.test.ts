import { describe, expect, it, vi } from 'vitest';
import { ip, makePolicy, makeService, makeWorkload, vip } from '../model/fixture.ts';
import type { IpAddress } from '../model/ip-address.ts';
import { policyKey, serviceKey } from '../model/key.ts';
import { defaultMeshConfig } from '../model/mesh-config.ts';
import { emptyDelta, type ModelDelta } from '../model/model.ts';
import type { Service } from '../model/service.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import { Store, type StoreListener } from './store.ts';

function storeWith(delta: Partial<ModelDelta>): Store {
  const store = new Store();
  store.apply({ ...emptyDelta, ...delta });
  return store;
}

describe('workloadByAddress()', () => {
  const address = ip('10.0.0.1');

  it('prefers a pod, then HBONE, then the first uid', () => {
    const plain = makeWorkload('a', { addresses: [address], tunnelProtocol: 'none' });
    const hbone = makeWorkload('b', { addresses: [address] });
    const pod = makeWorkload('k//Pod/shop/web', { addresses: [address], tunnelProtocol: 'none' });
    const store = storeWith({ workloads: [plain, hbone, pod] });
    expect(store.snapshot().workloadsByAddress('', address)).toEqual([pod, hbone, plain]);
    expect(store.snapshot().workloadByAddress('', address)).toBe(pod);
    store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, workloads: [pod.uid] } });
    expect(store.snapshot().workloadByAddress('', address)).toBe(hbone);
  });

  it('keeps networks apart and does not find host-network workloads', () => {
    const here = makeWorkload('a', { addresses: [address] });
    const there = makeWorkload('b', { addresses: [address], network: 'east' });
    const host = makeWorkload('c', { addresses: [ip('10.0.0.2')], networkMode: 'host-network' });
    const snapshot = storeWith({ workloads: [here, there, host] }).snapshot();
    expect(snapshot.workloadByAddress('', address)).toBe(here);
    expect(snapshot.workloadByAddress('east', address)).toBe(there);
    expect(snapshot.workloadByAddress('', ip('10.0.0.2'))).toBeUndefined();
    expect(snapshot.workloadByUid(host.uid)).toBe(host);
  });

  it('finds unhealthy workloads, too', () => {
    const sick = makeWorkload('a', { addresses: [address], health: 'unhealthy' });
    expect(
      storeWith({ workloads: [sick] })
        .snapshot()
        .workloadByAddress('', address)?.health,
    ).toBe('unhealthy');
  });

  it('takes as many steps at 100,000 workloads as at 100', () => {
    const small = lookupSteps(100);
    expect(lookupSteps(100_000)).toBe(small);
  });

  it('changes one of 100,000 workloads by touching a few hundred entries', () => {
    const workloads = manyWorkloads(100_000);
    const store = storeWith({ workloads });
    const changed = { ...(workloads[5] as Workload), health: 'unhealthy' as const };
    const set = vi.spyOn(Map.prototype, 'set');
    let sets = 0;
    try {
      store.apply({ ...emptyDelta, workloads: [changed] });
      sets = set.mock.calls.length;
    } finally {
      set.mockRestore();
    }
    expect(sets).toBeLessThan(500);
    expect(store.snapshot().workloadByAddress('', changed.addresses[0] as IpAddress)).toBe(changed);
  });
});

function manyWorkloads(count: number): Workload[] {
  return Array.from({ length: count }, (_, i) => {
    const addresses = [ip(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)];
    const services = new Map([[serviceKey('shop', `api-${i % 1000}`), []]]);
    return makeWorkload(`k//Pod/shop/web-${i}`, { name: `web-${i}`, addresses, services });
  });
}

/** Map lookups that workloadByAddress() needs. */
function lookupSteps(count: number): number {
  const snapshot = storeWith({ workloads: manyWorkloads(count) }).snapshot();
  const get = vi.spyOn(Map.prototype, 'get');
  try {
    snapshot.workloadByAddress('', ip(`10.0.0.${count % 100}`));
    return get.mock.calls.length;
  } finally {
    get.mockRestore();
  }
}

describe('serviceForAddress()', () => {
  const address = ip('10.96.0.1');
  const names = (services: readonly Service[]) => services.map((service) => service.key);

  it('prefers the own namespace, then canonical, then the first key', () => {
    const a = makeService('a', 'x', { addresses: [vip('10.96.0.1')] });
    const b = makeService('b', 'x', { addresses: [vip('10.96.0.1')], canonical: true });
    const c = makeService('c', 'x', { addresses: [vip('10.96.0.1')] });
    const snapshot = storeWith({ services: [c, b, a] }).snapshot();
    expect(names(snapshot.servicesByAddress('', address))).toEqual(['a/x', 'b/x', 'c/x']);
    expect(snapshot.serviceForAddress('', address, 'c')).toBe(c);
    expect(snapshot.serviceForAddress('', address, 'z')).toBe(b);
    expect(
      storeWith({ services: [c, a] })
        .snapshot()
        .serviceForAddress('', address, 'z'),
    ).toBe(a);
    expect(snapshot.serviceForAddress('other', address, 'a')).toBeUndefined();
  });

  it('hides a service with namespace visibility from other namespaces', () => {
    const a = makeService('a', 'x', { addresses: [vip('10.96.0.1')], visibility: 'namespace' });
    const snapshot = storeWith({ services: [a] }).snapshot();
    expect(snapshot.serviceForAddress('', address, 'b')).toBeUndefined();
    expect(snapshot.serviceForAddress('', address, 'a')).toBe(a);
    expect(snapshot.serviceForHostname('x', 'b')).toBeUndefined();
    expect(snapshot.serviceForHostname('X', 'a')).toBe(a);
  });

  it('looks at ranges only after single addresses: own namespace, then the longest prefix', () => {
    const wide = makeService('own', 'wide', { addresses: [vip('10.0.0.0', 8)] });
    const narrow = makeService('other', 'narrow', { addresses: [vip('10.96.0.0', 16)] });
    const single = makeService('other', 'single', { addresses: [vip('10.96.0.1')] });
    const store = storeWith({ services: [wide, narrow, single] });
    const find = (text: string, namespace: string) =>
      store.snapshot().serviceForAddress('', ip(text), namespace);
    expect(find('10.96.0.1', 'own')).toBe(single);
    expect(find('10.96.0.2', 'z')).toBe(narrow);
    expect(find('10.96.0.2', 'own')).toBe(wide);
    expect(find('10.1.0.2', 'z')).toBe(wide);
    expect(find('11.0.0.1', 'z')).toBeUndefined();
    expect(names(store.snapshot().servicesByAddress('', address))).toEqual([
      'other/single',
      'other/narrow',
      'own/wide',
    ]);
    store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, services: [narrow.key] } });
    expect(find('10.96.0.2', 'z')).toBe(wide);
  });

  it('matches IPv6 ranges, and never across families', () => {
    const six = makeService('a', 'six', { addresses: [vip('2001:db8::', 32)] });
    const all = makeService('a', 'all', { addresses: [vip('0.0.0.0', 0)] });
    const snapshot = storeWith({ services: [six, all] }).snapshot();
    expect(snapshot.serviceForAddress('', ip('2001:db8:1::1'), '')).toBe(six);
    expect(snapshot.serviceForAddress('', ip('2001:db9::1'), '')).toBeUndefined();
    expect(snapshot.serviceForAddress('', ip('9.9.9.9'), '')).toBe(all);
  });
});

describe('endpointsOf()', () => {
  it('keeps endpoints that arrive before their service', () => {
    const key = serviceKey('shop', 'api');
    const endpoint = makeWorkload('b', { services: new Map([[key, []]]) });
    const store = storeWith({ workloads: [endpoint] });
    store.apply({ ...emptyDelta, services: [makeService('shop', 'api')] });
    expect(store.snapshot().endpointsOf(key)).toEqual([endpoint]);
    store.apply({ ...emptyDelta, services: [makeService('shop', 'api', { canonical: true })] });
    expect(store.snapshot().endpointsOf(key)).toEqual([endpoint]);
  });

  it('is the same array as long as no endpoint changes', () => {
    const key = serviceKey('shop', 'api');
    const store = storeWith({ workloads: [makeWorkload('a', { services: new Map([[key, []]]) })] });
    const before = store.snapshot().endpointsOf(key);
    store.apply({ ...emptyDelta, workloads: [makeWorkload('other')] });
    expect(store.snapshot().endpointsOf(key)).toBe(before);
    expect(Object.isFrozen(before)).toBe(true);
  });
});

describe('policiesFor()', () => {
  const inShop = makePolicy('shop', 'p');
  const elsewhere = makePolicy('bank', 'p');
  const everywhere = makePolicy('istio-system', 'p', { scope: 'global' });
  const strict = makePolicy('istio-system', 'strict', { scope: 'workload', action: 'deny' });

  it('holds those of the namespace, global ones and those named; unknown names are skipped', () => {
    const names = [strict.key, policyKey('shop', 'missing'), inShop.key];
    const workload = makeWorkload('a', { authorizationPolicies: names });
    const store = storeWith({ policies: [inShop, elsewhere, everywhere, strict], workloads: [workload] });
    expect(store.snapshot().policiesFor(workload)).toEqual([inShop, everywhere, strict]);
    expect(store.snapshot().policiesFor(makeWorkload('b'))).toEqual([inShop, everywhere]);
    expect(store.snapshot().policiesFor(makeWorkload('c', { namespace: 'x' }))).toEqual([everywhere]);
  });

  it('sees a named policy as soon as it arrives', () => {
    const workload = makeWorkload('a', { authorizationPolicies: [strict.key] });
    const store = storeWith({ workloads: [workload] });
    expect(store.snapshot().policiesFor(workload)).toEqual([]);
    store.apply({ ...emptyDelta, policies: [strict] });
    expect(store.snapshot().policiesFor(workload)).toEqual([strict]);
  });

  it('is one array for all workloads and snapshots with the same policies', () => {
    const store = storeWith({ policies: [inShop] });
    const before = store.snapshot().policiesFor(makeWorkload('a'));
    store.apply({ ...emptyDelta, policies: [elsewhere], workloads: [makeWorkload('x')] });
    expect(store.snapshot().policiesFor(makeWorkload('b'))).toBe(before);
    store.apply({ ...emptyDelta, policies: [makePolicy('shop', 'p', { action: 'deny' })] });
    expect(store.snapshot().policiesFor(makeWorkload('b'))).not.toBe(before);
  });
});

describe('Store', () => {
  it('takes equal values for no change', () => {
    const store = storeWith({ workloads: [makeWorkload('a')], meshConfig: defaultMeshConfig });
    const before = store.snapshot();
    const listener = vi.fn<StoreListener>();
    store.subscribe(listener);
    const removed = { ...emptyDelta.removed, pods: ['missing' as WorkloadUid] };
    store.apply({
      ...emptyDelta,
      workloads: [makeWorkload('a')],
      meshConfig: { ...defaultMeshConfig },
      removed,
    });
    expect(store.snapshot()).toBe(before);
    expect(store.generation).toBe(1);
    expect(listener).not.toHaveBeenCalled();
  });

  it('tells subscribers the new snapshot and what really changed', () => {
    const store = storeWith({ workloads: [makeWorkload('a')] });
    const listener = vi.fn<StoreListener>();
    const unsubscribe = store.subscribe(listener);
    const b = makeWorkload('b');
    store.apply({ ...emptyDelta, workloads: [makeWorkload('a'), b] });
    expect(listener.mock.calls).toEqual([[store.snapshot(), { ...emptyDelta, workloads: [b] }]]);
    unsubscribe();
    unsubscribe();
    store.apply({ ...emptyDelta, workloads: [makeWorkload('c')] });
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('calls every subscriber even if one throws, and throws that error', () => {
    const store = new Store();
    const second = vi.fn<StoreListener>();
    store.subscribe(() => {
      throw new Error('broken');
    });
    store.subscribe(second);
    expect(() => store.apply({ ...emptyDelta, workloads: [makeWorkload('a')] })).toThrow('broken');
    expect(second).toHaveBeenCalledTimes(1);
    expect(store.generation).toBe(1);
  });

  it('refuses a change from within a subscriber', () => {
    const store = new Store();
    store.subscribe(() => store.apply({ ...emptyDelta, workloads: [makeWorkload('b')] }));
    expect(() => store.apply({ ...emptyDelta, workloads: [makeWorkload('a')] })).toThrow(/from within/);
  });

  it('stores a key that one delta both removes and stores; the last of several values counts', () => {
    const store = storeWith({ workloads: [makeWorkload('a', { addresses: [ip('10.0.0.1')] })] });
    const [first, last] = ['10.0.0.2', '10.0.0.3'].map((text) =>
      makeWorkload('a', { addresses: [ip(text)] }),
    );
    const removed = { ...emptyDelta.removed, workloads: ['a' as WorkloadUid] };
    store.apply({ ...emptyDelta, workloads: [first as Workload, last as Workload], removed });
    const found = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((text) =>
      store.snapshot().workloadByAddress('', ip(text)),
    );
    expect(found).toEqual([undefined, undefined, last]);
  });
});
