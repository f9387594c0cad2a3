// The main thread's end of a data worker of a waypoint. A worker that dies takes the process with it: a waypoint that
// serves only some of its connections is worse than one that the nodes see is gone.

import { WorkerThread } from '../mesh/proxy/worker-thread.ts';
import type { TokenJob } from './jwt/token-job.ts';
import type { Span } from './telemetry/span.ts';
import type { WaypointMetricsSnapshot } from './telemetry/waypoint-metrics.ts';
import type { FromWorker, ToWorker, WorkerListeners, WorkerStart } from './worker-messages.ts';
import type { WorkerLoad } from './worker-load.ts';

export interface DataWorkerHandler {
  onAccessLog(text: string, dropped: number): void;
  onLog(level: 'info' | 'warn' | 'error', message: string, fields: object): void;
  onSpans(spans: readonly Span[], dropped: number): void;
  /** A name's addresses are needed: a `looked-up` is to be posted. */
  onLookUp(hostname: string): void;
  /** A token is to be verified: a `token-verified` is to be posted. */
  onVerifyToken(job: TokenJob): void;
  /** The thread ended although nobody asked it to. */
  onDied(error: Error): void;
}

export class DataWorker {
  readonly #thread: WorkerThread<ToWorker, FromWorker>;
  readonly #handler: DataWorkerHandler;
  readonly #listening = Promise.withResolvers<void>();
  readonly #drained = Promise.withResolvers<void>();

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

  async metrics(): Promise<WaypointMetricsSnapshot> {
    return (await this.#thread.ask('metrics', (id) => ({ kind: 'query', id, what: 'metrics' }))).metrics;
  }

  async load(): Promise<WorkerLoad> {
    return (await this.#thread.ask('load', (id) => ({ kind: 'query', id, what: 'load' }))).load;
  }

  /** Hands the sockets over; resolves when connections are accepted. */
  listen(listeners: WorkerListeners): Promise<void> {
    this.post({ kind: 'listen', listeners });
    return this.#listening.promise;
  }

  /** Resolves when the last connection has ended. */
  drain(): Promise<void> {
    this.post({ kind: 'drain' });
    return this.#drained.promise;
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
      case 'spans':
        return this.#handler.onSpans(message.spans, message.dropped);
      case 'look-up':
        return this.#handler.onLookUp(message.hostname);
      case 'verify-token':
        return this.#handler.onVerifyToken(message.job);
      case 'listening':
        return this.#listening.resolve();
      case 'drained':
        return this.#drained.resolve();
      case 'metrics':
      case 'load':
        return;
    }
  }
}
