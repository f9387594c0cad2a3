// Names that an on-demand client asked for and has no resource for: waiting for an answer, or known to be absent and
// still followed, since the server tells when such a name appears. Both are bounded: applications choose the names.

import { XdsError } from './xds-error.ts';

export type DemandResult = 'found' | 'absent';

interface Waiter {
  readonly resolve: (result: DemandResult) => void;
  readonly reject: (reason: Error) => void;
}

/** Lookups without an answer; one address scanned by one pod is one name. */
const maxWaitingNames = 10_000;
/** Beyond this the name that was found absent longest ago is no longer followed. */
const maxAbsentNames = 10_000;

export class DemandList {
  readonly #send: (names: { subscribe?: readonly string[]; unsubscribe?: readonly string[] }) => void;
  readonly #waiting = new Map<string, Set<Waiter>>();
  readonly #absent = new Set<string>();
  #closed = false;

  constructor(send: (names: { subscribe?: readonly string[]; unsubscribe?: readonly string[] }) => void) {
    this.#send = send;
  }

  /** For the first request after a reconnect. */
  *names(): Iterable<string> {
    yield* this.#waiting.keys();
    yield* this.#absent;
  }

  ask(name: string, { signal }: { readonly signal?: AbortSignal }): Promise<DemandResult> {
    if (this.#closed) return Promise.reject(closedError(name));
    if (signal?.aborted) return Promise.reject(abortError(signal));
    if (this.#absent.has(name)) return Promise.resolve('absent');
    const known = this.#waiting.get(name);
    if (known === undefined && this.#waiting.size >= maxWaitingNames) {
      const message = `Asking for "${name}" failed: ${maxWaitingNames} names wait for the controller already`;
      return Promise.reject(new XdsError('DEMAND_LIMIT', message));
    }
    const waiters = known ?? new Set<Waiter>();
    this.#waiting.set(name, waiters);
    const result = waitIn(waiters, { signal, onAbort: () => this.#giveUp(name, waiters) });
    if (known === undefined) this.#send({ subscribe: [name] });
    return result;
  }

  /** Only names that were asked for matter here; others come along with them. */
  answer(name: string, result: DemandResult): void {
    const waiters = this.#waiting.get(name);
    const followed = this.#absent.delete(name);
    this.#waiting.delete(name);
    for (const { resolve } of waiters ?? []) resolve(result);
    if (result === 'absent' && (waiters !== undefined || followed)) this.#follow(name);
  }

  close(): void {
    this.#closed = true;
    for (const [name, waiters] of this.#waiting) for (const { reject } of waiters) reject(closedError(name));
    this.#waiting.clear();
    this.#absent.clear();
  }

  #giveUp(name: string, waiters: ReadonlySet<Waiter>): void {
    if (waiters.size > 0 || this.#waiting.get(name) !== waiters) return;
    this.#waiting.delete(name);
    this.#send({ unsubscribe: [name] });
  }

  #follow(name: string): void {
    this.#absent.add(name);
    if (this.#absent.size <= maxAbsentNames) return;
    const [oldest] = this.#absent;
    if (oldest === undefined) return;
    this.#absent.delete(oldest);
    this.#send({ unsubscribe: [oldest] });
  }
}

function waitIn(
  waiters: Set<Waiter>,
  { signal, onAbort }: { readonly signal: AbortSignal | undefined; readonly onAbort: () => void },
): Promise<DemandResult> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      waiters.delete(waiter);
      reject(abortError(signal));
      onAbort();
    };
    const settle = () => signal?.removeEventListener('abort', stop);
    const waiter: Waiter = {
      resolve: (result) => {
        settle();
        resolve(result);
      },
      reject: (reason) => {
        settle();
        reject(reason);
      },
    };
    waiters.add(waiter);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

function abortError(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('The wait was given up', { cause: reason });
}

function closedError(name: string): XdsError {
  return new XdsError('CLOSED', `Asking for "${name}" failed: the client was closed`);
}
