import { describe, expect, it } from 'vitest';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { type DrainKind, WorkerDrain } from './worker-drain.ts';

function begin(kind: DrainKind, open: { connections: number; tunnels: number }) {
  const steps: string[] = [];
  const clock = new ManualClock();
  const drain = new WorkerDrain(kind, clock, {
    connections: () => open.connections,
    tunnels: () => open.tunnels,
    sayGoodbye: () => steps.push('goodbye'),
    stopListening: () => steps.push('stop listening'),
    onDrained: () => steps.push('drained'),
  });
  drain.check();
  return { drain, steps, clock, open };
}

describe('WorkerDrain', () => {
  it('serves new connections, alone, until none is open, and says goodbye only then', () => {
    const { drain, steps, open } = begin('alone', { connections: 1, tunnels: 1 });
    expect([steps, drain.refusesTunnels]).toEqual([[], false]);
    open.connections = 0;
    drain.check();
    expect([steps, drain.refusesTunnels]).toEqual([['stop listening', 'goodbye'], true]);
    open.tunnels = 0;
    drain.check();
    expect(steps.at(-1)).toBe('drained');
  });

  it('waits for what was in the queues when the listeners closed', () => {
    const { drain, steps, open } = begin('alone', { connections: 1, tunnels: 0 });
    open.connections = 0;
    open.tunnels = 1;
    drain.check();
    open.connections = 1;
    open.tunnels = 0;
    drain.check();
    expect(steps).not.toContain('drained');
    open.connections = 0;
    drain.check();
    expect(steps.at(-1)).toBe('drained');
  });

  it('says goodbye at once where it was replaced, and still accepts what began at its listeners', () => {
    const { drain, steps, clock } = begin('replaced', { connections: 0, tunnels: 0 });
    expect([steps, drain.refusesTunnels]).toEqual([['goodbye'], true]);
    clock.advance(10_000);
    expect(steps).toEqual(['goodbye', 'stop listening', 'drained']);
  });
});
