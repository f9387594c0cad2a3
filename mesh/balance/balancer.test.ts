import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ip, makeService, makeWorkload } from '../model/fixture.ts';
import { serviceKey } from '../model/key.ts';
import { emptyDelta } from '../model/model.ts';
import type { Service } from '../model/service.ts';
import type { TrafficPolicy } from '../model/traffic-policy.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import { seeded } from '../runtime/testing/seeded.ts';
import { Store } from '../state/store.ts';
import { Balancer, type PickHandle, type PickRequest, type PickResult } from './balancer.ts';

const key = serviceKey('shop', 'api.shop.svc.cluster.local');
const source = makeWorkload('source', { node: 'node-1', addresses: [ip('10.0.0.1')] });

function endpoint(name: string, fields: Partial<Workload> = {}): Workload {
  return makeWorkload(name, {
    name,
    addresses: [ip(`10.1.0.${name.charCodeAt(0) - 96}`)],
    services: new Map([[key, []]]),
    ...fields,
  });
}

function api(fields: Partial<Service> = {}): Service {
  return makeService('shop', 'api.shop.svc.cluster.local', {
    ports: [{ name: 'http', servicePort: 80, targetPort: 8080, appProtocol: 'tcp' }],
    ...fields,
  });
}

function policy(fields: Partial<TrafficPolicy>): { trafficPolicy: TrafficPolicy } {
  return { trafficPolicy: { key: 'shop/limits', ...fields } };
}

let now = 0;
let store: Store;
let balancer: Balancer;

function setUp(workloads: Workload[], service = api()): void {
  store.apply({ ...emptyDelta, workloads, services: [service] });
}

function pick(fields: Partial<PickRequest> = {}): PickResult {
  const service = store.snapshot().serviceByKey(key) as Service;
  return balancer.pick(store.snapshot(), {
    source,
    service,
    servicePort: 80,
    family: 4,
    excluded: new Set(),
    ...fields,
  });
}

function picked(fields: Partial<PickRequest> = {}): Extract<PickResult, { kind: 'endpoint' }> {
  const result = pick(fields);
  if (result.kind !== 'endpoint') throw new Error(result.message);
  return result;
}

function refusal(fields: Partial<PickRequest> = {}): string {
  const result = pick(fields);
  return result.kind === 'none' ? result.reason : `picked ${result.endpoint.workload.uid}`;
}

function open(): PickHandle {
  const { handle } = picked();
  balancer.begin(handle);
  balancer.connected(handle, 1);
  return handle;
}

function shares(count: number, after: (handle: PickHandle) => void = () => {}): Record<string, number> {
  const seen: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const { endpoint, handle } = picked();
    seen[endpoint.workload.uid] = (seen[endpoint.workload.uid] ?? 0) + 1;
    after(handle);
  }
  return seen;
}

/** Dials whatever is picked until `uid` has failed so often; the others succeed. */
function fail(uid: string, times: number): void {
  for (let failures = 0, picks = 0; failures < times; picks++) {
    if (picks > 1_000) throw new Error(`"${uid}" is not picked any more`);
    const { handle } = picked();
    balancer.begin(handle);
    if (handle.uid === uid) {
      balancer.failed(handle, 'connect');
      failures++;
    } else {
      balancer.connected(handle, 1);
      balancer.closed(handle);
    }
  }
}

beforeEach(() => {
  now = 0;
  store = new Store();
  balancer = new Balancer({ random: seeded(7), now: () => now });
  store.subscribe((snapshot, delta) => balancer.onChange(snapshot, delta));
});

describe('Balancer endpoint filter', () => {
  it('refuses a port the service does not have and a service without endpoints', () => {
    setUp([]);
    expect(refusal()).toBe('no-endpoints');
    expect(refusal({ servicePort: 81 })).toBe('no-such-port');
  });

  it('leaves out unhealthy endpoints unless the service allows all', () => {
    setUp([endpoint('a', { health: 'unhealthy' }), endpoint('b')]);
    expect(shares(50)).toEqual({ b: 50 });
    const loadBalancing = { mode: 'unspecified', routingPreference: [], healthPolicy: 'allow-all' } as const;
    setUp([], api({ loadBalancing }));
    expect(Object.keys(shares(50)).sort()).toEqual(['a', 'b']);
  });

  it('leaves out capacity 0, no address, and another network without a gateway', () => {
    setUp([
      endpoint('a', { capacity: 0 }),
      endpoint('b', { addresses: [] }),
      endpoint('c', { network: 'far' }),
      endpoint('d'),
    ]);
    expect(shares(50)).toEqual({ d: 50 });
  });

  it('keeps a hostname endpoint and one behind a gateway, without an address to dial', () => {
    setUp([endpoint('a', { addresses: [], hostname: 'db.example.com' })]);
    expect(picked().endpoint).toMatchObject({ address: undefined, port: 8080 });
    const networkGateway = {
      destination: { kind: 'address', network: 'far', address: ip('192.0.2.1') },
      hboneMtlsPort: 15008,
    } as const;
    setUp([endpoint('a', { addresses: [], network: 'far', networkGateway })]);
    expect(picked().endpoint.workload.networkGateway).toEqual(networkGateway);
  });

  it('prefers the endpoint port mapping, and leaves out an endpoint without one for a named port', () => {
    const ports = [{ name: 'http', servicePort: 80, targetPort: 0, appProtocol: 'tcp' } as const];
    const mapping = [{ servicePort: 80, targetPort: 9090 }];
    setUp([endpoint('a', { services: new Map([[key, mapping]]) }), endpoint('b')], api({ ports }));
    expect(shares(50)).toEqual({ a: 50 });
    expect(picked().endpoint.port).toBe(9090);
    setUp([], api());
    expect(new Set([1, 2, 3, 4, 5, 6, 7, 8].map(() => picked().endpoint.port))).toEqual(
      new Set([8080, 9090]),
    );
  });

  it('picks the address of the family asked for, within the families of the service', () => {
    const addresses = [ip('fd00::1'), ip('10.1.0.1')];
    setUp([endpoint('a', { addresses })]);
    expect(picked({ family: 4 }).endpoint.address).toBe('10.1.0.1');
    expect(picked({ family: 6 }).endpoint.address).toBe('fd00::1');
    setUp([], api({ ipFamilies: 'ipv4-only' }));
    expect(picked({ family: 6 }).endpoint.address).toBe('10.1.0.1');
    setUp([endpoint('a', { addresses: [ip('fd00::1')] })]);
    expect(picked({ family: 4 }).endpoint.address).toBe('fd00::1');
  });

  it('sees a change of the endpoints in the next snapshot', () => {
    setUp([endpoint('a')]);
    expect(picked().endpoint.workload.uid).toBe('a');
    store.apply({
      ...emptyDelta,
      workloads: [endpoint('b')],
      removed: { ...emptyDelta.removed, workloads: ['a' as WorkloadUid] },
    });
    expect(shares(20)).toEqual({ b: 20 });
  });
});

describe('Balancer locality', () => {
  const loadBalancing = { routingPreference: ['node'], healthPolicy: 'only-healthy' } as const;

  it('stays on the node while an endpoint there is in rotation, and fails over when it is not', () => {
    setUp([endpoint('a'), endpoint('b', { node: 'node-2' }), endpoint('c', { node: 'node-2' })], {
      ...api(),
      loadBalancing: { ...loadBalancing, mode: 'failover' },
    });
    expect(shares(50)).toEqual({ a: 50 });
    expect(['b', 'c']).toContain(picked({ excluded: new Set(['a' as WorkloadUid]) }).endpoint.workload.uid);
    fail('a', 3);
    expect(shares(50)).not.toHaveProperty('a');
    now += 5_000;
    expect(shares(50)).toEqual({ a: 50 });
  });

  it('has no endpoint elsewhere when strict, and keeps sources on different nodes apart', () => {
    setUp([endpoint('b', { node: 'node-2' })], {
      ...api(),
      loadBalancing: { ...loadBalancing, mode: 'strict' },
    });
    expect(refusal()).toBe('no-endpoints');
    expect(refusal({ source: makeWorkload('other', { node: 'node-2' }) })).toBe('picked b');
  });
});

describe('Balancer distribution', () => {
  const abc = [endpoint('a'), endpoint('b'), endpoint('c')];

  it.each(['peak-ewma', 'least-connections', 'round-robin', 'weighted-random'] as const)(
    'spreads evenly over equal idle endpoints with %s',
    (balancing) => {
      setUp(abc, api(policy({ balancing })));
      const seen = shares(3_000, (handle) => {
        balancer.begin(handle);
        balancer.connected(handle, 0.3 + (now++ % 3) / 10);
        balancer.closed(handle);
      });
      for (const uid of ['a', 'b', 'c']) expect(Math.abs((seen[uid] ?? 0) - 1_000)).toBeLessThan(120);
    },
  );

  it.each(['peak-ewma', 'least-connections', 'round-robin', 'weighted-random'] as const)(
    'follows capacity with %s when connections stay open',
    (balancing) => {
      setUp([endpoint('a', { capacity: 3 }), endpoint('b')], api(policy({ balancing })));
      const seen = shares(2_000, (handle) => {
        balancer.begin(handle);
        balancer.connected(handle, 1);
      });
      expect(Math.abs((seen['a'] ?? 0) - 1_500)).toBeLessThan(90);
    },
  );

  it('follows capacity with idle endpoints by default', () => {
    setUp([endpoint('a', { capacity: 3 }), endpoint('b')]);
    expect(Math.abs((shares(4_000)['a'] ?? 0) - 3_000)).toBeLessThan(120);
  });

  it('takes exact turns in round robin', () => {
    setUp(abc, api(policy({ balancing: 'round-robin' })));
    expect(shares(300)).toEqual({ a: 100, b: 100, c: 100 });
    setUp([endpoint('a', { capacity: 2 })], api(policy({ balancing: 'round-robin' })));
    expect(shares(400)).toEqual({ a: 200, b: 100, c: 100 });
  });

  it('picks the endpoint with the fewest connections', () => {
    setUp([endpoint('a'), endpoint('b')], api(policy({ balancing: 'least-connections' })));
    const first = open();
    const second = open();
    expect(first.uid).not.toBe(second.uid);
    balancer.closed(first);
    expect(shares(20)).toEqual({ [first.uid]: 20 });
  });

  it('goes by the default that the caller names, unless a policy names another', () => {
    const asked = { defaultBalancing: 'least-connections' } as const;
    const slowFirst = (): string[] => {
      const slow = picked().handle;
      balancer.begin(slow);
      balancer.connected(slow, 2_000);
      balancer.closed(slow);
      const { handle } = picked({ excluded: new Set([slow.uid]) });
      balancer.begin(handle);
      balancer.connected(handle, 1);
      return [slow.uid, handle.uid];
    };
    setUp([endpoint('a'), endpoint('b')]);
    const [idle, busy] = slowFirst();
    expect(picked(asked).handle.uid).toBe(idle);
    expect(picked().handle.uid).toBe(busy);
    setUp([endpoint('a'), endpoint('b')], api(policy({ balancing: 'peak-ewma' })));
    expect(picked(asked).handle.uid).toBe(busy);
  });

  it('avoids an endpoint whose connects are slow, and one with dials pending', () => {
    setUp([endpoint('a'), endpoint('b')]);
    const seen = shares(200, (handle) => {
      balancer.begin(handle);
      balancer.connected(handle, handle.uid === 'a' ? 300 : 1);
      balancer.closed(handle);
    });
    expect(seen['a'] ?? 0).toBeLessThan(10);
    now += 120_000;
    const { handle } = picked();
    balancer.begin(handle);
    expect(shares(20)).not.toHaveProperty(handle.uid);
  });
});

describe('Balancer outlier ejection', () => {
  it('takes a failing endpoint out, lets one dial in after the time, and back in after a success', () => {
    setUp([endpoint('a'), endpoint('b'), endpoint('c')], api(policy({ balancing: 'round-robin' })));
    fail('b', 3);
    expect(balancer.ejections()).toEqual([{ uid: 'b', state: 'ejected' }]);
    expect(shares(30)).toEqual({ a: 15, c: 15 });
    now += 5_000;
    expect(balancer.ejections()).toEqual([{ uid: 'b', state: 'probation' }]);
    let probe = picked().handle;
    while (probe.uid !== 'b') probe = picked().handle;
    balancer.begin(probe);
    expect(shares(30)).not.toHaveProperty('b');
    balancer.connected(probe, 1);
    expect(shares(30)).toEqual({ a: 10, b: 10, c: 10 });
    expect(balancer.ejections()).toEqual([]);
  });

  it('never ejects the only endpoint, and uses all when all are out', () => {
    setUp([endpoint('a')]);
    fail('a', 20);
    expect(shares(5)).toEqual({ a: 5 });
    setUp([endpoint('b'), endpoint('c')]);
    const gone = ['b', 'c'] as WorkloadUid[];
    fail('a', 1);
    store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, workloads: gone } });
    expect(balancer.ejections()).toHaveLength(1);
    expect(shares(5)).toEqual({ a: 5 });
  });

  it('does not blame an endpoint for a denial or a client that went away', () => {
    setUp([endpoint('a'), endpoint('b')]);
    for (let i = 0; i < 50; i++) {
      const { handle } = picked();
      balancer.begin(handle);
      expect(balancer.failed(handle, i % 2 === 0 ? 'denied' : 'cancelled')).toBe(false);
    }
    expect(balancer.ejections()).toEqual([]);
  });

  it('counts a tunnel that breaks after it was connected', () => {
    setUp(
      [endpoint('a'), endpoint('b')],
      api(
        policy({
          outlierDetection: {
            consecutiveFailures: 1,
            baseEjectionMs: 1,
            maxEjectionMs: 1,
            maxEjectionPercent: 50,
          },
        }),
      ),
    );
    const handle = open();
    expect(balancer.failed(handle, 'tunnel')).toBe(true);
    balancer.closed(handle);
    expect(balancer.failed(handle, 'tunnel')).toBe(false);
  });
});

describe('Balancer limits and memory', () => {
  it('refuses above the connection limit and admits again after a close', () => {
    setUp([endpoint('a'), endpoint('b')], api(policy({ maxConnections: 2 })));
    const first = open();
    open();
    expect(pick()).toEqual({
      kind: 'none',
      reason: 'connection-limit',
      message:
        'Service "api.shop.svc.cluster.local" has 2 open connections from this node, as many as traffic policy "shop/limits" allows',
    });
    balancer.closed(first);
    balancer.closed(first);
    open();
    expect(refusal()).toBe('connection-limit');
  });

  it('says that all were tried', () => {
    setUp([endpoint('a'), endpoint('b')]);
    expect(refusal({ excluded: new Set(['a', 'b'] as WorkloadUid[]) })).toBe('all-excluded');
  });

  it('forgets endpoints and services that went, at the latest with their last connection', () => {
    setUp([endpoint('a'), endpoint('b')]);
    const handle = open();
    const removed = { ...emptyDelta.removed, workloads: ['a', 'b'] as WorkloadUid[], services: [key] };
    store.apply({ ...emptyDelta, removed });
    expect(balancer.size).toBe(1);
    balancer.closed(handle);
    expect(balancer.size).toBe(0);
  });
});

describe('Balancer properties', () => {
  const endpointSpec = fc.record({
    capacity: fc.integer({ min: 0, max: 4 }),
    health: fc.constantFrom('healthy', 'unhealthy'),
    node: fc.constantFrom('node-1', 'node-2'),
  });
  const step = fc.record({
    outcome: fc.constantFrom('connect', 'tunnel', 'denied', 'cancelled', 'ok', 'ok-and-break', 'close'),
    wait: fc.integer({ min: 0, max: 8_000 }),
    exclude: fc.nat(7),
  });

  it('never picks what is excluded, unhealthy or of capacity 0, and keeps ejection within its bounds', () => {
    fc.assert(
      fc.property(
        fc.array(endpointSpec, { minLength: 1, maxLength: 8 }),
        fc.constantFrom('peak-ewma', 'least-connections', 'round-robin', 'weighted-random'),
        fc.constantFrom('unspecified', 'failover'),
        fc.array(step, { maxLength: 80 }),
        fc.nat(),
        (specs, balancing, mode, steps, seed) => {
          now = 0;
          store = new Store();
          balancer = new Balancer({ random: seeded(seed), now: () => now });
          const workloads = specs.map((spec, i) =>
            endpoint(String.fromCharCode(97 + i), spec as Partial<Workload>),
          );
          const loadBalancing = { mode, routingPreference: ['node'], healthPolicy: 'only-healthy' };
          setUp(workloads, api({ ...policy({ balancing }), loadBalancing } as Partial<Service>));
          const usable = workloads.filter((w) => w.capacity > 0 && w.health === 'healthy');
          for (const { outcome, wait, exclude } of steps) {
            now += wait;
            const excluded = new Set([String.fromCharCode(97 + exclude)] as WorkloadUid[]);
            const result = pick({ excluded });
            const possible = usable.filter((w) => !excluded.has(w.uid));
            expect(result.kind).toBe(possible.length > 0 ? 'endpoint' : 'none');
            if (result.kind === 'none') continue;
            expect(possible.map((w) => w.uid)).toContain(result.endpoint.workload.uid);
            const out = balancer.ejections().filter(({ state }) => state === 'ejected');
            expect(out.length).toBeLessThanOrEqual(Math.floor(usable.length / 2));
            expect(out.length).toBeLessThan(usable.length);
            const inRotation = possible.filter((w) => !balancer.ejections().some(({ uid }) => uid === w.uid));
            if (inRotation.length > 0) expect(out.map(({ uid }) => uid)).not.toContain(result.handle.uid);
            balancer.begin(result.handle);
            if (outcome.startsWith('ok')) balancer.connected(result.handle, wait);
            if (outcome === 'ok-and-break') balancer.failed(result.handle, 'tunnel');
            if (!outcome.startsWith('ok') && outcome !== 'close')
              balancer.failed(result.handle, outcome as 'connect');
            balancer.closed(result.handle);
          }
        },
      ),
    );
  });
});
