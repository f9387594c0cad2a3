import { describe, expect, it } from 'vitest';
import { parseDurationMs } from './durations.ts';

describe('parseDurationMs()', () => {
  it.each([
    ['0s', 0],
    ['500ms', 500],
    ['5s', 5_000],
    ['1m30s', 90_000],
    ['1h1m1s1ms', 3_661_001],
    ['99999h', 359_996_400_000],
  ])('reads %s as %d ms', (text, ms) => expect(parseDurationMs(text)).toBe(ms));

  it.each(['', '5', 's', '-1s', '1.5s', '1d', '1s ', '100000s', '1s1s1s1s1s'])('refuses %j', (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  });
});
