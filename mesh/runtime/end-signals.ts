// The signals that ask a program to end. They keep their handlers to the last moment: without one, a second Ctrl-C
// would kill the program in the middle of its clean-up.

import type { EventEmitter } from 'node:events';
import type { Clock } from './clock.ts';

export type EndSignal = 'SIGTERM' | 'SIGINT';

export interface EndSignalHandlers {
  /** Asked to end. */
  onFirst(signal: EndSignal): void;
  /** Asked again: whoever asks does not want to wait. Clean-up must happen all the same. */
  onRepeated?(signal: EndSignal): void;
}

/** A service manager signals a parent and its children at once, and the parent passes it on: that is one request. */
const sameRequestMs = 1_000;

/** Handles SIGTERM and SIGINT until the process is gone. */
export function onEndSignals(
  handlers: EndSignalHandlers,
  { clock, source = process }: { readonly clock: Clock; readonly source?: EventEmitter },
): void {
  let firstAt: number | undefined;
  const onSignal = (signal: EndSignal): void => {
    const now = clock.monotonic();
    if (firstAt === undefined) {
      firstAt = now;
      handlers.onFirst(signal);
    } else if (now - firstAt >= sameRequestMs) handlers.onRepeated?.(signal);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) source.on(signal, onSignal);
}
