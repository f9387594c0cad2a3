// Drives a reactor from a test's own thread, in turns with Node's event loop, so that the peer can be node:tls or
// node:net in the same process. Bounded: what never happens fails the test with what was waited for.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Reactor } from '../reactor.ts';

const defaultLimitMs = 15_000;

/**
 * Turns the reactor until `done` holds. Blocks at most 1 ms when nothing happens.
 * @throws Error naming `what` when `limitMs` passed.
 */
export async function pump(
  reactor: Reactor,
  what: string,
  done: () => boolean,
  limitMs: number = defaultLimitMs,
): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    // Twice, because what one connection sends another one of this reactor may have to read.
    reactor.turn(0);
    reactor.turn(done() ? 0 : 1);
    if (done()) return;
    if (performance.now() > end) throw new Error(`Waited ${limitMs} ms in vain: ${what}`);
    await nextTurn();
  }
}

/** Turns the reactor until `promise` settles, and settles like it. */
export async function pumpUntil<T>(
  reactor: Reactor,
  what: string,
  promise: Promise<T>,
  limitMs: number = defaultLimitMs,
): Promise<T> {
  let settled = false;
  const watch = () => {
    settled = true;
  };
  promise.then(watch, watch);
  await pump(reactor, what, () => settled, limitMs);
  return await promise;
}
