import { describe, expect, it } from 'vitest';
import { EndpointLoad } from './endpoint-load.ts';

describe('EndpointLoad', () => {
  it('follows a rise at once and a fall slowly', () => {
    const load = new EndpointLoad();
    load.observe(10, 0);
    load.observe(200, 1_000);
    expect(load.connectMs(1_000)).toBe(200);
    load.observe(10, 2_000);
    expect(load.connectMs(2_000)).toBeGreaterThan(150);
    for (let now = 3_000; now < 60_000; now += 1_000) load.observe(10, now);
    expect(load.connectMs(60_000)).toBeLessThan(15);
  });

  it('fades while nothing is observed', () => {
    const load = new EndpointLoad();
    load.observe(1_000, 0);
    expect(load.connectMs(60_000)).toBeLessThan(5);
  });

  it('never takes a fast failure for speed', () => {
    const load = new EndpointLoad();
    load.observe(100, 0);
    load.observeFailure(1, 0);
    expect(load.connectMs(0)).toBe(100);
    load.observeFailure(5_000, 0);
    expect(load.connectMs(0)).toBe(5_000);
  });

  it('costs more with dials pending, less so for a heavy endpoint, the same when idle', () => {
    const load = new EndpointLoad();
    expect(load.cost(0, 1)).toBe(load.cost(0, 4));
    load.pending = 2;
    expect(load.cost(0, 1)).toBeGreaterThan(load.cost(0, 4));
  });
});
