import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultOutlierDetection as policy } from '../model/traffic-policy.ts';
import { EndpointHealth, ejectionAllowed } from './endpoint-health.ts';

const yes = () => true;

function eject(health: EndpointHealth, now: number): void {
  while (!health.failed(now, policy, yes));
}

describe('EndpointHealth', () => {
  it('ejects at the third consecutive failure, not before', () => {
    const health = new EndpointHealth();
    expect([1, 2, 3].map((now) => health.failed(now, policy, yes))).toEqual([false, false, true]);
    expect(health.isEjected(3)).toBe(true);
    expect(health.isEjected(3 + 4_999)).toBe(true);
    expect(health.isEjected(3 + 5_000)).toBe(false);
  });

  it('starts counting again after a success', () => {
    const health = new EndpointHealth();
    health.failed(1, policy, yes);
    health.failed(2, policy, yes);
    health.succeeded(3);
    expect(health.failed(4, policy, yes)).toBe(false);
  });

  it('ejects again at the first failure on probation, for twice as long each time up to the maximum', () => {
    const health = new EndpointHealth();
    const durations: number[] = [];
    let now = 0;
    eject(health, now);
    for (let round = 0; round < 6; round++) {
      const start = now;
      while (health.isEjected(now)) now += 1_000;
      durations.push(now - start);
      expect(health.isOnProbation(now)).toBe(true);
      expect(health.failed(now, policy, yes)).toBe(true);
    }
    expect(durations).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  it('leaves probation by one success and forgets old ejections only after a long good time', () => {
    const health = new EndpointHealth();
    eject(health, 0);
    health.succeeded(5_000);
    expect(health.isOnProbation(5_000)).toBe(false);
    eject(health, 6_000);
    expect(health.isEjected(6_000 + 9_999)).toBe(true);
    health.succeeded(17_000);
    eject(health, 17_000 + 60_001);
    expect(health.isEjected(17_000 + 60_001 + 5_000)).toBe(false);
  });

  it('stays in rotation while the caller forbids ejection, and goes as soon as it allows it', () => {
    const health = new EndpointHealth();
    for (let i = 0; i < 10; i++) expect(health.failed(i, policy, () => false)).toBe(false);
    expect(health.failed(11, policy, yes)).toBe(true);
  });
});

describe('ejectionAllowed()', () => {
  it('always leaves one endpoint and never exceeds the share', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(100), (total, maxEjectionPercent) => {
        let ejected = 0;
        while (ejectionAllowed(total, ejected, { ...policy, maxEjectionPercent })) ejected++;
        expect(ejected * 100).toBeLessThanOrEqual(total * maxEjectionPercent);
        expect(ejected).toBeLessThan(Math.max(1, total));
      }),
    );
    expect(ejectionAllowed(3, 0, policy)).toBe(true);
    expect(ejectionAllowed(3, 1, policy)).toBe(false);
    expect(ejectionAllowed(1, 0, { ...policy, maxEjectionPercent: 100 })).toBe(false);
  });
});
