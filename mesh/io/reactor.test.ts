import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as libc from './libc.ts';
import { ENDED, Reactor, READABLE, wakeReactor, WRITABLE } from './reactor.ts';
import { openDescriptors } from './testing/leaks.ts';

let reactor: Reactor;
let errors: unknown[];
let opened: Set<number>;
let before: number;

beforeEach(() => {
  before = openDescriptors();
  errors = [];
  opened = new Set();
  reactor = new Reactor({ onError: (error) => errors.push(error) });
});

afterEach(() => {
  for (const fd of opened) libc.close(fd);
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

/** A descriptor that is writable at once, and readable if `value` is not 0. */
function counter(value: number): number {
  const fd = libc.eventfd(value, libc.EFD_NONBLOCK | libc.EFD_CLOEXEC);
  opened.add(fd);
  return fd;
}

function drop(fd: number): void {
  reactor.unregister(fd);
  libc.close(fd);
  opened.delete(fd);
}

describe('Reactor', () => {
  it('reports an edge once, and again only after something changed', () => {
    const fd = counter(1);
    const seen: number[] = [];
    reactor.register(fd, { onReady: (events) => seen.push(events) });
    reactor.turn(0);
    reactor.turn(0);
    expect(seen).toHaveLength(1);
    expect((seen[0] ?? 0) & READABLE).not.toBe(0);
    expect((seen[0] ?? 0) & WRITABLE).not.toBe(0);
    wakeReactor(fd);
    reactor.turn(0);
    expect(seen).toHaveLength(2);
  });

  it('keeps an event of a closed descriptor from its successor with the same number', () => {
    const calls: string[] = [];
    const pair = [counter(1), counter(1)] as const;
    let successor = -1;
    for (const fd of pair) {
      reactor.register(fd, {
        onReady: () => {
          calls.push(`old ${fd}`);
          const other = fd === pair[0] ? pair[1] : pair[0];
          drop(other);
          successor = counter(0);
          expect(successor).toBe(other);
          reactor.register(successor, { onReady: () => calls.push('new') });
        },
      });
    }
    reactor.turn(0);
    expect(calls).toHaveLength(1);
    reactor.turn(0);
    expect(calls[1]).toBe('new');
    expect(errors).toEqual([]);
  });

  it('calls nobody for a descriptor that another handler of the same turn unregistered', () => {
    const pair = [counter(1), counter(1)] as const;
    let calls = 0;
    for (const fd of pair) {
      reactor.register(fd, {
        onReady: () => {
          calls++;
          for (const each of pair) reactor.unregister(each);
        },
      });
    }
    reactor.turn(0);
    reactor.turn(0);
    expect(calls).toBe(1);
  });

  it('goes on with other handlers, timers, deferred work and end-of-turn tasks when one throws', () => {
    const done: string[] = [];
    const fail = (what: string) => () => {
      throw new RangeError(what);
    };
    for (let i = 0; i < 3; i++) {
      reactor.register(counter(1), { onReady: i === 1 ? fail('event') : () => done.push('event') });
    }
    reactor.defer({ onReady: fail('deferred') });
    reactor.defer({ onReady: () => done.push('deferred') });
    reactor.atTurnEnd({ onTurnEnd: fail('end') });
    reactor.atTurnEnd({ onTurnEnd: () => done.push('end') });
    reactor.turn(0);
    expect(done).toEqual(['event', 'event', 'deferred', 'end']);
    expect(errors).toEqual([new RangeError('event'), new RangeError('deferred'), new RangeError('end')]);
  });

  it('runs deferred work in the next turn, with every event, and not again', () => {
    const seen: number[] = [];
    const again = { onReady: (events: number) => seen.push(events) };
    reactor.defer({
      onReady: () => {
        reactor.defer(again);
        expect(seen).toEqual([]);
      },
    });
    reactor.turn(0);
    expect(seen).toEqual([]);
    reactor.turn(0);
    reactor.turn(0);
    expect(seen).toEqual([READABLE | ENDED | WRITABLE]);
  });

  it('runs end-of-turn tasks after events and timers, those asked for meanwhile in the same turn', () => {
    const order: string[] = [];
    reactor.register(counter(1), {
      onReady: () => {
        order.push('event');
        reactor.atTurnEnd({
          onTurnEnd: () => {
            order.push('end 1');
            reactor.atTurnEnd({ onTurnEnd: () => order.push('end 2') });
          },
        });
      },
    });
    reactor.defer({ onReady: () => order.push('deferred') });
    reactor.turn(0);
    reactor.turn(0);
    expect(order).toEqual(['event', 'deferred', 'end 1', 'end 2']);
  });

  it('does not sleep over work that was asked for before it runs', () => {
    const order: string[] = [];
    reactor.atTurnEnd({
      onTurnEnd: () => {
        order.push('end');
        reactor.stop();
      },
    });
    reactor.run();
    reactor.defer({
      onReady: () => {
        order.push('deferred');
        reactor.stop();
      },
    });
    reactor.run();
    expect(order).toEqual(['end', 'deferred']);
  });

  it('run() wakes for a timer', () => {
    reactor.after(20, () => reactor.stop());
    reactor.run();
    expect(errors).toEqual([]);
  });

  it('reports a listener as long as it is ready, not while it is paused, and again when it is resumed', () => {
    const fd = counter(1);
    let calls = 0;
    reactor.registerListener(fd, { onReady: () => calls++ });
    reactor.turn(0);
    reactor.turn(0);
    expect(calls).toBe(2);
    reactor.setListening(fd, false);
    reactor.turn(0);
    expect(calls).toBe(2);
    reactor.setListening(fd, true);
    reactor.turn(0);
    expect(calls).toBe(3);
  });

  it('says which descriptor it could not watch', () => {
    expect(() => reactor.register(1_000_000, { onReady: () => {} })).toThrow(
      /^Could not watch descriptor 1000000: EBADF/,
    );
  });

  it('is woken out of its sleep by another thread, once for many calls', async () => {
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const script = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { wakeReactor } = await import(workerData.module);
      parentPort.postMessage('ready');
      Atomics.wait(workerData.gate, 0, 0);
      for (let i = 0; i < 5; i++) wakeReactor(workerData.wakeFd);
      Atomics.store(workerData.gate, 0, 2);
      Atomics.notify(workerData.gate, 0);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      workerData: { module: new URL('./reactor.ts', import.meta.url).href, wakeFd: reactor.wakeFd, gate },
    });
    await once(worker, 'message');
    let wakes = 0;
    reactor.onWake(() => {
      wakes++;
      reactor.stop();
    });
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    reactor.run();
    expect(wakes).toBe(1);
    Atomics.wait(gate, 0, 1);
    reactor.turn(0);
    reactor.turn(0);
    // The calls after the first may or may not have come before it woke; together they are one more wake at most.
    expect(wakes).toBeLessThanOrEqual(2);
    await worker.terminate();
  });
});
