import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Reactor } from '../../mesh/io/reactor.ts';
import { pump } from '../../mesh/io/testing/pump.ts';
import { DeadlineQueues } from './deadline-queues.ts';

describe('DeadlineQueues', () => {
  let reactor: Reactor;
  beforeEach(() => {
    reactor = new Reactor({
      onError: (error) => {
        throw error;
      },
    });
  });
  afterEach(() => reactor[Symbol.dispose]());

  it('runs what is due in the order it fell due, and nothing that was cancelled', async () => {
    const queues = new DeadlineQueues(reactor);
    const ran: string[] = [];
    const run = (name: string) => () => ran.push(name);
    queues.after(60, run('late'));
    queues.after(20, run('first'));
    const middle = queues.after(20, run('cancelled'));
    queues.after(20, run('second'));
    middle.cancel();
    middle.cancel();
    await pump(reactor, 'the last one', () => ran.length === 3);
    expect(ran).toEqual(['first', 'second', 'late']);
  });

  it('takes what is set while another one runs', async () => {
    const queues = new DeadlineQueues(reactor);
    let count = 0;
    const again = (): void => {
      if (++count < 3) queues.after(10, again);
    };
    queues.after(10, again);
    await pump(reactor, 'three runs', () => count === 3);
  });

  it('keeps none that was cancelled, however many there are', () => {
    const queues = new DeadlineQueues(reactor);
    for (let i = 0; i < 100_000; i++) queues.after(15_000, () => {}).cancel();
    const last = queues.after(15_000, () => {});
    expect([last.previous, last.next]).toEqual([undefined, undefined]);
  });

  it('serves more durations than it has queues for', async () => {
    const queues = new DeadlineQueues(reactor);
    const ran = new Set<number>();
    for (let ms = 1; ms <= 300; ms++) queues.after(ms / 10, () => ran.add(ms));
    await pump(reactor, 'all of them', () => ran.size === 300);
  });
});
