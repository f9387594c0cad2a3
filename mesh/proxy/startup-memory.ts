// What a proxy does about its own memory: bounded malloc arenas from the first thread on, and the release of what only
// the start needed. Numbers are in docs/PERFORMANCE.md.

import { flushCompileCache } from 'node:module';
import { limitMallocArenas, releaseStartupMemory } from '../io/resident-memory.ts';
import type { Clock } from '../runtime/clock.ts';

/** The main thread and one worker allocate; a third arena would only keep what was freed. */
const mallocArenas = 2;
/** By then configuration and certificates have arrived; on a machine that is short of CPU, by the second time. */
const releaseAfterMs = [5_000, 60_000];

/** Call before the first worker starts. */
export function beginStartup(): void {
  limitMallocArenas(mallocArenas);
}

/** Call when everything runs. */
export function endStartup(clock: Clock): void {
  // For a start after a kill: an orderly exit writes the cache by itself.
  flushCompileCache();
  for (const afterMs of releaseAfterMs) clock.after(afterMs, releaseStartupMemory, { unref: true });
}
