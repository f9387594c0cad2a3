import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimerWheel } from './timer-wheel.ts';

const tickMs = 10;
const refuse = (error: unknown): never => {
  throw error instanceof Error ? error : new Error(String(error));
};

type Step =
  | { readonly do: 'set'; readonly delayMs: number }
  | { readonly do: 'cancel'; readonly which: number }
  | { readonly do: 'advance'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('set' as const),
    delayMs: fc.oneof(
      fc.nat(100),
      fc.nat(30_000),
      fc.constantFrom(0, 9, 10, 11, 10_240, 20_480, 3_600_000),
      fc.double({ min: 0, max: 500, noNaN: true }),
    ),
  }),
  fc.record({ do: fc.constant('cancel' as const), which: fc.nat(50) }),
  fc.record({
    do: fc.constant('advance' as const),
    ms: fc.oneof(fc.nat(15), fc.nat(2_000), fc.constantFrom(10_240, 60_000, 4_000_000)),
  }),
);

describe('TimerWheel', () => {
  it('fires each timer once, never early and at most one tick after an advance that reached it', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(100_000), (steps, start) => {
        let now = start + 0.25;
        const wheel = new TimerWheel(now);
        const timers: { due: number; fired: number; cancelled: boolean; cancel: () => void }[] = [];
        for (const action of steps) {
          if (action.do === 'advance') {
            now += action.ms;
            wheel.advance(now, refuse);
          } else if (action.do === 'cancel') {
            const timer = timers[action.which];
            if (timer !== undefined && timer.fired === 0) timer.cancelled = true;
            timer?.cancel();
          } else {
            const timer = { due: now + action.delayMs, fired: 0, cancelled: false, cancel: () => {} };
            const handle = wheel.set(now, action.delayMs, () => {
              expect(now).toBeGreaterThanOrEqual(timer.due);
              timer.fired++;
            });
            timer.cancel = () => handle.cancel();
            timers.push(timer);
          }
          for (const timer of timers) {
            if (timer.cancelled) expect(timer.fired).toBe(0);
            else if (timer.due + tickMs * 2 <= now && action.do === 'advance') expect(timer.fired).toBe(1);
            expect(timer.fired).toBeLessThanOrEqual(1);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('waits exactly as long as it takes to the next tick with a timer', () => {
    const wheel = new TimerWheel(1_000);
    expect(wheel.waitMs(1_000)).toBe(-1);
    wheel.set(1_000, 95, () => {});
    expect(wheel.waitMs(1_000)).toBe(100);
    expect(wheel.waitMs(1_093.5)).toBe(7);
    expect(wheel.waitMs(2_000)).toBe(0);
  });

  it('says -1 again when its last timer fired or a cancelled one was passed', () => {
    const wheel = new TimerWheel(0);
    wheel.set(0, 50, () => {});
    wheel.set(0, 70, () => {}).cancel();
    wheel.advance(80, refuse);
    expect(wheel.waitMs(80)).toBe(-1);
  });

  it('keeps a delay of days through many turns of the wheel', () => {
    const wheel = new TimerWheel(0);
    const days = 20 * 86_400_000;
    let fired = 0;
    wheel.set(0, days, () => fired++);
    for (let now = 0; now < days; now += 3_600_000) wheel.advance(now, refuse);
    expect(fired).toBe(0);
    wheel.advance(days, refuse);
    expect(fired).toBe(1);
  });

  it('asks for at most one turn a level before a far timer fires', () => {
    const wheel = new TimerWheel(0);
    let fired = 0;
    wheel.set(0, 3_600_000, () => fired++);
    let turns = 0;
    for (let now = 0; fired === 0; turns++) {
      now += wheel.waitMs(now);
      wheel.advance(now, refuse);
    }
    expect(turns).toBeLessThanOrEqual(4);
  });

  it('holds 100,000 timers, of which the cancelled ones never fire', () => {
    const wheel = new TimerWheel(0);
    let fired = 0;
    for (let i = 0; i < 100_000; i++) {
      const timer = wheel.set(0, i % 25_000, () => fired++);
      if (i % 4 === 0) timer.cancel();
    }
    for (let now = 0; now <= 30_000; now += 500) wheel.advance(now, refuse);
    expect(fired).toBe(75_000);
    expect(wheel.waitMs(30_000)).toBe(-1);
  });

  it('runs a timer that was set while firing, and cancels one of the same tick', () => {
    const wheel = new TimerWheel(0);
    const order: string[] = [];
    wheel.set(0, 10, () => {
      order.push('first');
      second.cancel();
      wheel.set(10, 0, () => order.push('third'));
    });
    const second = wheel.set(0, 10, () => order.push('second'));
    wheel.advance(10, refuse);
    expect(order).toEqual(['first']);
    wheel.advance(20, refuse);
    expect(order).toEqual(['first', 'third']);
  });

  it('hands on what a timer throws and fires the others', () => {
    const wheel = new TimerWheel(0);
    const errors: unknown[] = [];
    let fired = 0;
    wheel.set(0, 10, () => {
      throw new RangeError('on purpose');
    });
    wheel.set(0, 10, () => fired++);
    wheel.advance(10, (error) => errors.push(error));
    expect(errors).toEqual([new RangeError('on purpose')]);
    expect(fired).toBe(1);
  });
});
