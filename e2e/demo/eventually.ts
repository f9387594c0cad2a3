// Awaits a state that only asking can show, such as "a new connection is refused now": asks again until it holds or the
// time is up. Where there is an event (a log line, a closed connection) that is awaited instead.

import { setTimeout as delay } from 'node:timers/promises';
import { DemoError } from './demo-error.ts';

const pauseMs = 40;

/** The first defined result; an attempt that throws counts as "not yet", and the last reason is in the error. */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T | undefined>,
  timeoutMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let reason = '';
  for (;;) {
    try {
      const result = await attempt();
      if (result !== undefined) return result;
      reason = '';
    } catch (error) {
      reason = `: ${(error as Error).message}`;
    }
    if (performance.now() > deadline)
      throw new DemoError('timeout', `Within ${timeoutMs / 1000} s not ${what}${reason}`);
    await delay(pauseMs);
  }
}
