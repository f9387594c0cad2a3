// The main thread's end of a data worker: posts and wakes, asks and waits for the answer, hands on what it reports.
// A worker that dies takes the process with it: capture stays pinned, so its pods are refused until the next start.

import { WorkerThread } from '../mesh/proxy/worker-thread.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { MetricsSnapshot } from './metrics.ts';
import type { ProvenConnection } from './same-node.ts';
import type { DrainKind } from './worker-drain.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';

export interface DataWorkerHandler {
  onAccessLog(text: string, dropped: number): void;
  onLog(level: 'info' | 'warn' | 'error', message: string, fields: object): void;
  /** A name's addresses are needed: a `looked-up` is to be posted. */
  onLookUp(hostname: string): void;
  /** Two pods of this node talk, and both ends agreed. */
  onProven(connection: ProvenConnection): void;
  /** The thread ended although nobody asked it to. */
  onDied(error: Error): void;
}

export class DataWorker {
  readonly #thread: WorkerThread<ToWorker, FromWorker>;
  readonly #handler: DataWorkerHandler;
  #drained: (() => void) | undefined;

  constructor(start: WorkerStart, handler: DataWorkerHandler) {
    this.#handler = handler;
    this.#thread = new WorkerThread(
      { entry: new URL('./worker-main.ts', import.meta.url), data: start },
      { onMessage: (message) => this.#receive(message), onDied: (error) => handler.onDied(error) },
    );
  }

  /** In order; nothing is lost before the worker is ready. After `stop` nothing is sent. */
  post(message: ToWorker): void {
    this.#thread.post(message);
  }

  async metrics(): Promise<MetricsSnapshot> {
    return (await this.#thread.ask('metrics', (id) => ({ kind: 'query', id, what: 'metrics' }))).metrics;
  }

  async connections(): Promise<readonly ConnectionSummary[]> {
    return (await this.#thread.ask('connections', (id) => ({ kind: 'query', id, what: 'connections' })))
      .connections;
  }

  /** Resolves when the last connection has ended. */
  drain(how: DrainKind): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.post({ kind: 'drain', how });
    });
  }

  /** Drops what is open and ends the thread. */
  stop(): Promise<void> {
    return this.#thread.stop({ kind: 'stop' });
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'access-log':
        return this.#handler.onAccessLog(message.text, message.dropped);
      case 'log':
        return this.#handler.onLog(message.level, message.message, message.fields);
      case 'look-up':
        return this.#handler.onLookUp(message.hostname);
      case 'proven':
        return this.#handler.onProven(message.connection);
      case 'drained':
        return this.#drained?.();
      case 'metrics':
      case 'connections':
      case 'stopped':
        return;
    }
  }
}
