import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { emptyDelta } from '../model/model.ts';
import type { HttpTrafficPolicy } from '../model/traffic-policy.ts';
import type { WorkloadUid } from '../model/workload.ts';
import { BalancerFixture, httpPolicy } from './fixture.ts';
import { hashText } from './text-hash.ts';

let mesh: BalancerFixture;

beforeEach(() => {
  mesh = new BalancerFixture();
});

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `e${i}`);
}

describe('Balancer by hash', () => {
  it.each(['ring-hash', 'maglev'] as const)(
    '%s leads equal hashes to one endpoint, and spreads the others',
    (balancing) => {
      mesh.service();
      mesh.add(...names(5));
      mesh.http = httpPolicy({ balancing });
      const seen = new Set<string>();
      for (let key = 0; key < 200; key++) {
        const hash = hashText(`user-${key}`);
        const first = mesh.request(undefined, { hash });
        for (let i = 0; i < 3; i++) expect(mesh.request(undefined, { hash })).toBe(first);
        seen.add(first);
      }
      expect(seen.size).toBe(5);
    },
  );

  it.each(['ring-hash', 'maglev'] as const)(
    '%s moves only the keys of an endpoint that is out',
    (balancing) => {
      fc.assert(
        fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), (count, choice) => {
          mesh = new BalancerFixture();
          mesh.service();
          mesh.add(...names(count));
          mesh.http = httpPolicy({ balancing });
          const excluded = new Set([`e${choice % count}`] as WorkloadUid[]);
          for (let key = 0; key < 300; key++) {
            const hash = hashText(`user-${key}`);
            const before = mesh.picked({ hash }).uid;
            const after = mesh.picked({ hash, excluded }).uid;
            if (excluded.has(before)) expect(excluded.has(after)).toBe(false);
            else expect(after).toBe(before);
          }
        }),
        { numRuns: 20 },
      );
    },
  );

  it('draws a request without a hash', () => {
    mesh.service();
    mesh.add(...names(4));
    mesh.http = httpPolicy({ balancing: 'maglev' });
    for (const count of Object.values(mesh.shares(2_000))) expect(Math.abs(count - 500)).toBeLessThan(90);
  });

  it('random does not look at the weights', () => {
    mesh.service();
    mesh.add({ name: 'a', fields: { capacity: 9 } }, 'b');
    mesh.http = httpPolicy({ balancing: 'random' });
    expect(Math.abs((mesh.shares(2_000)['a'] ?? 0) - 1_000)).toBeLessThan(110);
  });
});

describe('Balancer sessions', () => {
  it('picks the endpoint of the session while it may be picked', () => {
    mesh.service();
    mesh.add('a', 'b', 'c');
    const preferred = 'b' as WorkloadUid;
    for (let i = 0; i < 20; i++) expect(mesh.request(undefined, { preferred })).toBe('b');
    expect(mesh.request(undefined, { preferred, excluded: new Set([preferred]) })).not.toBe('b');
    expect(['a', 'b', 'c']).toContain(mesh.request(undefined, { preferred: 'gone' as WorkloadUid }));
  });
});

describe('Balancer slow start', () => {
  it.each([
    'peak-ewma',
    'least-connections',
    'round-robin',
    'weighted-random',
    'random',
    'ring-hash',
    'maglev',
  ] as const)('gives a new endpoint a share that grows with its age, with %s', (balancing) => {
    mesh.service();
    mesh.add('a', 'b', 'c');
    mesh.http = httpPolicy({ balancing, slowStartMs: 10_000 });
    mesh.request();
    mesh.add('new');
    let key = 0;
    const share = (age: number) => {
      mesh.now = 1_000 + age;
      const run = () => mesh.request(undefined, { hash: hashText(`k${key++}`) });
      return (mesh.shares(4_000, run)['new'] ?? 0) / 4_000;
    };
    const [young, half, old] = [share(0), share(5_000), share(10_000)];
    // A tenth of a quarter, or of the half that the better of two gets when it is idle.
    expect(young).toBeGreaterThan(0.005);
    expect(young).toBeLessThan(0.08);
    expect(half).toBeGreaterThan(young * 1.8);
    expect(old).toBeGreaterThan(half);
    expect(Math.abs(old - 0.25)).toBeLessThan(0.06);
  });

  it('does not slow down endpoints that were there first, nor any without the setting', () => {
    mesh.service();
    mesh.add('a', 'b');
    mesh.http = httpPolicy({ balancing: 'random', slowStartMs: 10_000 });
    expect(Math.abs((mesh.shares(1_000)['a'] ?? 0) - 500)).toBeLessThan(80);
    mesh.add('new');
    mesh.http = undefined;
    expect(Math.abs((mesh.shares(3_000)['new'] ?? 0) - 1_000)).toBeLessThan(150);
  });

  it('starts an endpoint slowly that was unhealthy until now', () => {
    mesh.service();
    mesh.add('a', 'b', { name: 'sick', fields: { health: 'unhealthy' } });
    mesh.http = httpPolicy({ balancing: 'random', slowStartMs: 10_000 });
    mesh.request();
    mesh.now += 60_000;
    mesh.add('sick');
    expect(mesh.shares(1_000)['sick'] ?? 0).toBeLessThan(120);
  });
});

describe('Balancer by peak EWMA', () => {
  it('leaves no endpoint without traffic for long, whatever one slow start told of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 6, maxLength: 6 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(),
        (count, setUpMs, says, forRequest, seed) => {
          mesh = new BalancerFixture({ seed });
          mesh.service();
          mesh.add(...names(count));
          const warm = new Set<string>();
          const last = new Map<string, number>(names(count).map((name) => [name, mesh.now]));
          // A request a ms for three seconds; each endpoint's first costs the set-up of its tunnel.
          for (let i = 0; i < 3_000; i++) {
            mesh.now++;
            const handle = mesh.picked({ unit: forRequest ? 'request' : 'connection' });
            const cold = !warm.has(handle.uid);
            warm.add(handle.uid);
            const ms = cold ? (setUpMs[Number(handle.uid.slice(1))] as number) : 1;
            mesh.balancer.begin(handle);
            mesh.balancer.connected(handle, ms, { setUp: cold && says });
            if (forRequest) mesh.balancer.responded(handle, { status: 200, latencyMs: ms });
            mesh.balancer.closed(handle);
            last.set(handle.uid, mesh.now);
            for (const at of last.values()) expect(mesh.now - at).toBeLessThanOrEqual(250 + 9 * count + 8);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('spreads evenly from the first second on when it knows what was set-up', () => {
    mesh.service();
    mesh.add('a', 'b');
    const warm = new Set<string>();
    const seen = mesh.shares(1_000, () => {
      mesh.now++;
      const handle = mesh.picked();
      mesh.balancer.begin(handle);
      mesh.balancer.connected(handle, warm.has(handle.uid) ? 1 : handle.uid === 'a' ? 300 : 20, {
        setUp: !warm.has(handle.uid),
      });
      warm.add(handle.uid);
      mesh.balancer.closed(handle);
      return handle.uid;
    });
    expect(Math.abs((seen['a'] ?? 0) - 500)).toBeLessThan(80);
  });

  it('still avoids an endpoint whose responses are slow', () => {
    mesh.service();
    mesh.add('a', 'b');
    mesh.http = httpPolicy({});
    const seen = mesh.shares(2_000, () => {
      mesh.now++;
      return mesh.request((uid) => ({ ms: uid === 'a' ? 400 : 2 }));
    });
    expect(seen['a'] ?? 0).toBeLessThan(40);
  });

  it('counts requests under way, not connections being opened', () => {
    mesh.service();
    mesh.add('a', 'b');
    mesh.http = httpPolicy({});
    const busy = mesh.picked();
    mesh.balancer.begin(busy);
    mesh.balancer.connected(busy, 1);
    expect(mesh.shares(50)).not.toHaveProperty(busy.uid);
  });
});

const detection: NonNullable<HttpTrafficPolicy['httpOutlierDetection']> = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  successRateDeviations: 0,
  latencyFactor: 0,
};
const outliers = {
  consecutiveFailures: 3,
  baseEjectionMs: 5_000,
  maxEjectionMs: 60_000,
  maxEjectionPercent: 50,
};
const failing =
  (...bad: string[]) =>
  (uid: string) => ({ status: bad.includes(uid) ? 503 : 200 });

describe('Balancer outliers by response', () => {
  beforeEach(() => {
    mesh.service({}, { balancing: 'round-robin' });
    mesh.add('a', 'b', 'c', 'd');
    mesh.http = httpPolicy({ httpOutlierDetection: detection });
  });

  it('ejects after failures in a row, lets one request at a time in afterwards, and a good answer ends it', () => {
    mesh.shares(12, () => mesh.request(failing('a')));
    expect(mesh.ejected()).toEqual(['a']);
    expect(mesh.shares(30)).not.toHaveProperty('a');
    mesh.now += 5_000;
    let probe = mesh.picked();
    while (probe.uid !== 'a') probe = mesh.picked();
    mesh.balancer.begin(probe);
    mesh.balancer.connected(probe, 1);
    // A connection that came up says nothing about the answers.
    expect(mesh.shares(30)).not.toHaveProperty('a');
    mesh.balancer.responded(probe, { status: 200, latencyMs: 1 });
    expect(mesh.shares(40)).toHaveProperty('a');
    mesh.balancer.closed(probe);
    expect(mesh.balancer.ejections()).toEqual([]);
  });

  it('ejects again, for longer, when the one request fails', () => {
    mesh.shares(12, () => mesh.request(failing('a')));
    mesh.now += 5_000;
    mesh.shares(8, () => mesh.request(failing('a')));
    expect(mesh.ejected()).toEqual(['a']);
    mesh.now += 9_999;
    expect(mesh.ejected()).toEqual(['a']);
    mesh.now += 1;
    expect(mesh.ejected()).toEqual([]);
  });

  it('takes answers to requests from before the ejection for no sign of what is now', () => {
    let early = mesh.picked();
    while (early.uid !== 'a') early = mesh.picked();
    mesh.balancer.begin(early);
    mesh.balancer.connected(early, 1);
    mesh.now++;
    mesh.shares(12, () => mesh.request(failing('a')));
    mesh.now++;
    mesh.balancer.responded(early, { status: 200, latencyMs: 5 });
    expect(mesh.ejected()).toEqual(['a']);
  });

  it('never has more out than the cap, and asks the ejected when all others are excluded', () => {
    mesh.shares(400, () => mesh.request(failing('a', 'b', 'c', 'd')));
    expect(mesh.ejected()).toHaveLength(2);
    const left = ['a', 'b', 'c', 'd'].filter((uid) => !mesh.ejected().includes(uid)) as WorkloadUid[];
    expect(mesh.ejected()).toContain(mesh.picked({ excluded: new Set(left) }).uid);
  });

  it('compares the endpoints every ten seconds', () => {
    mesh.http = httpPolicy({
      httpOutlierDetection: { ...detection, consecutive5xx: 0, successRateDeviations: 2 },
    });
    let turn = 0;
    const flaky = (uid: string) => ({ status: uid === 'c' && turn++ % 3 === 0 ? 500 : 200 });
    for (let i = 0; i < 400; i++) mesh.request(flaky);
    expect(mesh.ejected()).toEqual([]);
    mesh.now += 10_000;
    mesh.request(flaky);
    expect(mesh.ejected()).toEqual(['c']);
  });

  it('lets plain connections end the probation of an endpoint that also answers requests', () => {
    mesh.shares(12, () => mesh.request(failing('a')));
    mesh.now += 5_000;
    mesh.http = undefined;
    for (let i = 0; i < 8; i++) {
      const handle = mesh.picked();
      mesh.balancer.begin(handle);
      mesh.balancer.connected(handle, 1);
    }
    expect(mesh.balancer.ejections()).toEqual([]);
  });
});

describe('Balancer circuit', () => {
  beforeEach(() => {
    mesh.service({}, { outlierDetection: { ...outliers, maxEjectionPercent: 100 } });
    mesh.add('a', 'b');
    mesh.http = httpPolicy({ httpOutlierDetection: detection });
  });

  function breakAll(): void {
    for (let i = 0; i < 100 && mesh.pick().kind === 'endpoint'; i++) mesh.request(failing('a', 'b'));
  }

  it('opens when every endpoint is ejected, lets one request an endpoint through after the time, and closes', () => {
    breakAll();
    expect(mesh.refusal()).toBe('circuit-open');
    mesh.now += 5_000;
    const probes = [mesh.picked()];
    mesh.balancer.begin(probes[0] as never);
    probes.push(mesh.picked());
    mesh.balancer.begin(probes[1] as never);
    expect(new Set(probes.map(({ uid }) => uid)).size).toBe(2);
    expect(mesh.refusal()).toBe('circuit-open');
    for (const probe of probes) {
      mesh.balancer.connected(probe, 1);
      mesh.balancer.responded(probe, { status: 200, latencyMs: 1 });
      mesh.balancer.closed(probe);
    }
    expect(mesh.shares(10)).toBeDefined();
    expect(mesh.balancer.ejections()).toEqual([]);
  });

  it('says "all tried", not "open", while an endpoint that was tried is in rotation', () => {
    const excluded = new Set(['a', 'b'] as WorkloadUid[]);
    expect(mesh.refusal({ excluded })).toBe('all-excluded');
    breakAll();
    expect(mesh.refusal({ excluded })).toBe('circuit-open');
  });

  it('never opens for connections, nor below 100 percent', () => {
    breakAll();
    mesh.http = undefined;
    expect(mesh.refusal()).toMatch(/^picked/);
    mesh = new BalancerFixture();
    mesh.service({}, { outlierDetection: { ...outliers, maxEjectionPercent: 99 } });
    mesh.add('a', 'b');
    mesh.http = httpPolicy({ httpOutlierDetection: detection });
    for (let i = 0; i < 100; i++) mesh.request(failing('a', 'b'));
    expect(mesh.refusal()).toMatch(/^picked/);
  });
});

describe('Balancer limits of requests', () => {
  it('does not count requests as connections', () => {
    mesh.service({}, { maxConnections: 1 });
    mesh.add('a');
    mesh.balancer.begin(mesh.picked());
    expect(mesh.refusal()).toBe('connection-limit');
    expect(mesh.refusal({ unit: 'request' })).toBe('picked a');
  });
});

describe('Balancer overflow', () => {
  const near = { node: 'node-1' };
  const far = { node: 'node-2' };

  function share(healthyNear: number, sickNear: number): number {
    mesh = new BalancerFixture();
    mesh.service({
      loadBalancing: { mode: 'failover', routingPreference: ['node'], healthPolicy: 'only-healthy' },
    });
    const endpoints = [
      ...names(healthyNear).map((name) => ({ name: `near-${name}`, fields: near })),
      ...names(sickNear).map((name) => ({
        name: `sick-${name}`,
        fields: { ...near, health: 'unhealthy' } as const,
      })),
      ...names(5).map((name) => ({ name: `far-${name}`, fields: far })),
    ];
    mesh.add(...endpoints);
    const seen = mesh.shares(2_000);
    const kept = Object.entries(seen)
      .filter(([uid]) => uid.startsWith('near'))
      .map(([, count]) => count);
    return kept.reduce((sum, count) => sum + count, 0) / 2_000;
  }

  it('keeps all while 70 percent of the near endpoints are healthy, then hands over in proportion', () => {
    expect(share(4, 0)).toBe(1);
    expect(share(7, 3)).toBe(1);
    expect(Math.abs(share(5, 5) - 0.5 / 0.7)).toBeLessThan(0.04);
    expect(Math.abs(share(1, 9) - 0.1 / 0.7)).toBeLessThan(0.04);
    expect(share(0, 5)).toBe(0);
  });

  it('brings back what the far endpoints can not take', () => {
    share(1, 3);
    const gone = names(5).map((name) => `far-${name}` as WorkloadUid);
    mesh.store.apply({ ...emptyDelta, removed: { ...emptyDelta.removed, workloads: gone } });
    expect(Object.keys(mesh.shares(100))).toEqual(['near-e0']);
  });
});
