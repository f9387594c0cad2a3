import { describe, expect, it, vi } from 'vitest';
import { ManualClock } from './clock.ts';
import { Drain, type DrainResult } from './drain.ts';

describe('Drain', () => {
  it('ends at once without work', async () => {
    const drain = new Drain(new ManualClock());
    expect(drain.draining).toBe(false);
    expect(await drain.start({ deadlineMs: 1000 })).toEqual({ remaining: 0 });
    expect([drain.draining, drain.signal.aborted, drain.cutSignal.aborted]).toEqual([true, true, false]);
  });

  it('waits for the last piece of work', async () => {
    const drain = new Drain(new ManualClock());
    const [one, two] = [drain.track(), drain.track()];
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    expect(drain.open).toBe(1);
    const onEnd = vi.fn<(result: DrainResult) => void>();
    const result = drain.start({ deadlineMs: 1000 }).then((end) => onEnd(end));
    await Promise.resolve();
    expect(onEnd).not.toHaveBeenCalled();
    two[Symbol.dispose]();
    await result;
    expect(onEnd).toHaveBeenCalledWith({ remaining: 0 });
  });

  it('cuts what is left at the deadline', async () => {
    const clock = new ManualClock();
    const drain = new Drain(clock);
    const work = drain.track();
    const result = drain.start({ deadlineMs: 1000 });
    clock.advance(999);
    expect(drain.cutSignal.aborted).toBe(false);
    clock.advance(1);
    expect(drain.cutSignal.aborted).toBe(true);
    expect(await result).toEqual({ remaining: 1 });
    work[Symbol.dispose]();
    expect(await drain.start({ deadlineMs: 1 })).toEqual({ remaining: 1 });
  });

  it('can bring the deadline forward but not put it off', async () => {
    const clock = new ManualClock();
    const drain = new Drain(clock);
    drain.track();
    const result = drain.start({ deadlineMs: 1000 });
    void drain.start({ deadlineMs: 5000 });
    void drain.start({ deadlineMs: 10 });
    clock.advance(10);
    expect(await result).toEqual({ remaining: 1 });
  });

  it('waits for work that listeners end or register while draining begins', async () => {
    const drain = new Drain(new ManualClock());
    const before = drain.track();
    let goodbye: Disposable | undefined;
    drain.signal.addEventListener('abort', () => {
      before[Symbol.dispose]();
      goodbye = drain.track();
    });
    const onEnd = vi.fn<(result: DrainResult) => void>();
    const result = drain.start({ deadlineMs: 1000 }).then((end) => onEnd(end));
    await Promise.resolve();
    expect(onEnd).not.toHaveBeenCalled();
    goodbye?.[Symbol.dispose]();
    await result;
    expect(onEnd).toHaveBeenCalledWith({ remaining: 0 });
  });

  it('leaves no timer behind', async () => {
    const cancel = vi.fn<() => void>();
    const clock = new ManualClock();
    vi.spyOn(clock, 'after').mockReturnValue({ cancel });
    await new Drain(clock).start({ deadlineMs: 1000 });
    expect(cancel).toHaveBeenCalledTimes(1);
  });
});
