import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from './clock.ts';
import { onEndSignals } from './end-signals.ts';

describe('onEndSignals()', () => {
  const clock = new ManualClock();
  let source: EventEmitter;
  let calls: string[];

  beforeEach(() => {
    source = new EventEmitter();
    calls = [];
    const handlers = {
      onFirst: (signal: string) => calls.push(`first ${signal}`),
      onRepeated: (signal: string) => calls.push(`again ${signal}`),
    };
    onEndSignals(handlers, { clock, source });
  });

  it('tells the first signal from the later ones, of either kind', () => {
    source.emit('SIGTERM', 'SIGTERM');
    clock.advance(1_000);
    source.emit('SIGINT', 'SIGINT');
    source.emit('SIGTERM', 'SIGTERM');
    expect(calls).toEqual(['first SIGTERM', 'again SIGINT', 'again SIGTERM']);
  });

  it('takes signals of the same second for one request, as a parent and a service manager send them', () => {
    source.emit('SIGTERM', 'SIGTERM');
    clock.advance(999);
    source.emit('SIGTERM', 'SIGTERM');
    expect(calls).toEqual(['first SIGTERM']);
  });

  it('never leaves a signal without a handler, so that none kills the process', () => {
    source.emit('SIGINT', 'SIGINT');
    expect([source.listenerCount('SIGINT'), source.listenerCount('SIGTERM')]).toEqual([1, 1]);
  });
});
