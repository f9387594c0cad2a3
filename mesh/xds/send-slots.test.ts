import { expect, test } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { SendSlots } from './send-slots.ts';

test('no more than there are slots send at once, the others in the order they came', () => {
  const slots = new SendSlots({ clock: new ManualClock(0), slots: 2 });
  const sending: string[] = [];
  const release = new Map<string, () => void>();
  for (const name of ['a', 'b', 'c', 'd']) {
    slots.take((done) => {
      sending.push(name);
      release.set(name, done);
    });
  }
  expect(sending).toEqual(['a', 'b']);
  release.get('a')?.();
  release.get('a')?.();
  expect(sending).toEqual(['a', 'b', 'c']);
  release.get('c')?.();
  expect(sending).toEqual(['a', 'b', 'c', 'd']);
});

test('who does not give a slot back loses it after a while', () => {
  const clock = new ManualClock(0);
  const slots = new SendSlots({ clock, slots: 1, holdMs: 1_000 });
  const sending: string[] = [];
  let late: (() => void) | undefined;
  slots.take((release) => {
    sending.push('stuck');
    late = release;
  });
  slots.take(() => sending.push('next'));
  slots.take(() => sending.push('third'));
  expect(sending).toEqual(['stuck']);
  clock.advance(1_000);
  expect(sending).toEqual(['stuck', 'next']);
  late?.();
  expect(sending).toEqual(['stuck', 'next']);
});

test('who stopped waiting is passed over', () => {
  const slots = new SendSlots({ clock: new ManualClock(0), slots: 1 });
  let release: (() => void) | undefined;
  const sending: string[] = [];
  slots.take((done) => {
    release = done;
  });
  const stop = slots.take(() => sending.push('gone'));
  slots.take(() => sending.push('next'));
  stop();
  release?.();
  expect(sending).toEqual(['next']);
});
