// A reactor and the TLS contexts of one test, released behind it: whatever is still open then fails the test.

import { afterEach, beforeEach, expect } from 'vitest';
import { Reactor } from '../reactor.ts';
import type { TlsContext } from '../tls-context.ts';
import { openDescriptors } from './leaks.ts';

export interface TlsWorld {
  reactor: Reactor;
  /** To be released after the test. */
  contexts: TlsContext[];
}

/** To be called once a file, outside of its tests; what it returns is anew in each of them. */
export function tlsWorld(): TlsWorld {
  const world = { contexts: [] as TlsContext[] } as TlsWorld;
  let before: number;
  beforeEach(() => {
    before = openDescriptors();
    world.contexts = [];
    world.reactor = new Reactor({
      onError: (error) => {
        throw error;
      },
    });
  });
  afterEach(() => {
    for (const context of world.contexts) context[Symbol.dispose]();
    world.reactor[Symbol.dispose]();
    expect(openDescriptors()).toBe(before);
  });
  return world;
}
