import { expect, test } from 'vitest';
import type { Reactor } from '../../mesh/io/reactor.ts';
import type { Timer } from '../../mesh/runtime/clock.ts';
import { DeadlineQueues } from './deadline-queues.ts';

/** A reactor's time and timers, moved by hand. */
class ManualReactor {
  now = 0;
  #timers: { at: number; run: () => void; live: boolean }[] = [];

  after(delayMs: number, run: () => void): Timer {
    const timer = { at: this.now + delayMs, run, live: true };
    this.#timers.push(timer);
    return {
      cancel() {
        timer.live = false;
      },
    };
  }

  advance(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = this.#timers
        .filter(({ at, live }) => live && at <= until)
        .toSorted((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.at);
      due.live = false;
      due.run();
    }
    this.now = until;
  }

  get live(): number {
    return this.#timers.filter(({ live }) => live).length;
  }
}

function setUp() {
  const reactor = new ManualReactor();
  const fired: string[] = [];
  const queues = new DeadlineQueues(reactor as unknown as Reactor);
  const after = (ms: number, name: string) => queues.after(ms, () => fired.push(`${name} at ${reactor.now}`));
  return { reactor, fired, after };
}

test('each deadline fires in its time, cancelled ones never', () => {
  const { reactor, fired, after } = setUp();
  after(500, 'a');
  reactor.advance(100);
  const b = after(500, 'b');
  after(500, 'c');
  b.cancel();
  b.cancel();
  reactor.advance(1_000);
  expect(fired).toEqual(['a at 500', 'c at 600']);
});

test('a deadline is in time after a pause in which the queue was empty', () => {
  const { reactor, fired, after } = setUp();
  after(500, 'first').cancel();
  reactor.advance(2_000);
  after(500, 'second');
  reactor.advance(10_000);
  after(500, 'third');
  reactor.advance(500);
  expect(fired).toEqual(['second at 2500', 'third at 12500']);
});

test('one timer serves a queue, and none is left long after the last deadline', () => {
  const { reactor, after } = setUp();
  for (let i = 0; i < 1_000; i++) {
    after(500, 'x').cancel();
    reactor.advance(1);
  }
  expect(reactor.live).toBe(1);
  reactor.advance(200_000);
  expect(reactor.live).toBe(0);
});

test('what is set while a deadline fires is in time', () => {
  const { reactor, fired, after } = setUp();
  const queues = new DeadlineQueues(reactor as unknown as Reactor);
  const again = (): void => {
    if (fired.push(`at ${reactor.now}`) < 3) queues.after(10, again);
  };
  queues.after(10, again);
  after(25, 'between');
  reactor.advance(100);
  expect(fired).toEqual(['at 10', 'at 20', 'between at 25', 'at 30']);
});

test('more durations than there are queues for are served all the same', () => {
  const { reactor, fired, after } = setUp();
  for (let ms = 1; ms <= 300; ms++) after(ms, 'x');
  const last = after(400, 'cancelled');
  last.cancel();
  reactor.advance(1_000);
  expect(fired.length).toBe(300);
});
