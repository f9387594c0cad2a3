// A data worker's own end: its reactor blocks in epoll, so the main thread posts messages and wakes it by an eventfd, and
// all that wait are read in one go. From `run` on nothing but callbacks of the reactor runs in the thread.

import { flushCompileCache } from 'node:module';
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { Reactor } from '../io/reactor.ts';
import { compactHeap } from '../io/resident-memory.ts';
import type { WorkerReady } from './worker-thread.ts';

/** A problem of the worker itself, for the log. */
export interface WorkerProblem {
  readonly kind: 'log';
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: object;
}

export class WorkerLoop<To, From extends { readonly kind: string }> {
  readonly reactor: Reactor;
  readonly #port: MessagePort;

  /** @throws Error outside a worker thread */
  constructor() {
    if (parentPort === null) throw new Error('A data worker runs as a worker thread of its program only');
    this.#port = parentPort;
    this.reactor = new Reactor({ onError: (error) => this.#failed('A connection handler failed', error) });
  }

  post(message: From | WorkerProblem): void {
    this.#port.postMessage(message);
  }

  /** Serves until the reactor is stopped. A message that fails is reported and changes nothing for the next one. */
  run(handle: (message: To) => void): void {
    this.reactor.onWake(() => this.#receive(handle));
    // Now, while nobody waits: later it would hold up every connection.
    compactHeap();
    const ready: WorkerReady = { kind: 'ready', wakeFd: this.reactor.wakeFd };
    this.#port.postMessage(ready);
    // For a start after a kill: an orderly exit writes the cache by itself.
    flushCompileCache();
    this.reactor.run();
    this.reactor[Symbol.dispose]();
  }

  #receive(handle: (message: To) => void): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      try {
        handle(received.message as To);
      } catch (error) {
        this.#failed('A message from the main thread failed', error);
      }
    }
  }

  #failed(message: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.post({ kind: 'log', level: 'error', message, fields: { error: text } });
  }
}
