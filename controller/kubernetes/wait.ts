// A pause that a signal cuts short.

import type { Clock } from '../../mesh/runtime/clock.ts';

/** Resolves after `delayMs`, or at once when `signal` is aborted; never rejects. */
export function waitFor(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(delayMs, finish);
    function finish(): void {
      timer.cancel();
      signal.removeEventListener('abort', finish);
      resolve();
    }
    signal.addEventListener('abort', finish, { once: true });
    if (signal.aborted) finish();
  });
}
