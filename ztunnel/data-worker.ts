// The main thread's end of a data worker: posts and wakes, asks and waits for the answer, hands on what it reports.
// A worker that dies takes the process with it: capture stays pinned, so its pods are refused until the next start.

import { Worker } from 'node:worker_threads';
import { wakeReactor } from '../mesh/io/reactor.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { MetricsSnapshot } from './metrics.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';

export interface DataWorkerHandler {
  onAccessLog(text: string, dropped: number): void;
  onLog(level: 'info' | 'warn' | 'error', message: string, fields: object): void;
  /** A name's addresses are needed: a `looked-up` is to be posted. */
  onLookUp(hostname: string): void;
  /** The thread ended although nobody asked it to. */
  onDied(error: Error): void;
}

export class DataWorker {
  #worker: Worker;
  #handler: DataWorkerHandler;
  #wakeFd = -1;
  #queued: ToWorker[] = [];
  #answers = new Map<number, (value: FromWorker) => void>();
  #nextId = 1;
  #drained: (() => void) | undefined;
  #stopping = false;

  constructor(start: WorkerStart, handler: DataWorkerHandler) {
    this.#handler = handler;
    this.#worker = new Worker(new URL('./worker-main.ts', import.meta.url), { workerData: start });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) =>
      handler.onDied(error instanceof Error ? error : new Error(String(error))),
    );
    this.#worker.on('exit', (code) => {
      if (!this.#stopping) handler.onDied(new Error(`A data worker ended with code ${code}`));
    });
  }

  /** In order; nothing is lost before the worker is ready. After `stop` nothing is sent: its descriptor is closed. */
  post(message: ToWorker): void {
    if (this.#stopping) return;
    if (this.#wakeFd < 0) this.#queued.push(message);
    else this.#send(message);
  }

  async metrics(): Promise<MetricsSnapshot> {
    const answer = await this.#ask('metrics');
    if (answer.kind !== 'metrics')
      throw new Error(`A data worker answered ${answer.kind} when asked for metrics`);
    return answer.metrics;
  }

  async connections(): Promise<readonly ConnectionSummary[]> {
    const answer = await this.#ask('connections');
    if (answer.kind !== 'connections')
      throw new Error(`A data worker answered ${answer.kind} when asked for connections`);
    return answer.connections;
  }

  /** Resolves when the last connection has ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.post({ kind: 'drain' });
    });
  }

  /** Drops what is open and ends the thread. */
  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.post({ kind: 'stop' });
    this.#stopping = true;
    await ended;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
    wakeReactor(this.#wakeFd);
  }

  #ask(what: 'metrics' | 'connections'): Promise<FromWorker> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.post({ kind: 'query', id, what });
    });
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        this.#wakeFd = message.wakeFd;
        for (const queued of this.#queued.splice(0)) this.#send(queued);
        return;
      case 'access-log':
        return this.#handler.onAccessLog(message.text, message.dropped);
      case 'log':
        return this.#handler.onLog(message.level, message.message, message.fields);
      case 'metrics':
      case 'connections':
        this.#answers.get(message.id)?.(message);
        this.#answers.delete(message.id);
        return;
      case 'look-up':
        return this.#handler.onLookUp(message.hostname);
      case 'drained':
        this.#drained?.();
        return;
      case 'stopped':
        return;
    }
  }
}
