// The main thread's end of a data worker's thread: posts and wakes its reactor, asks and waits for the answer, hands on
// what comes without being asked. Knows no message but `ready`; what is said is the program's. Nothing posted is lost
// before the worker is ready, and nothing is sent once it was told to stop: its descriptor is closed then.

import { Worker } from 'node:worker_threads';
import { wakeReactor } from '../io/reactor.ts';

/** The first message of every worker. */
export interface WorkerReady {
  readonly kind: 'ready';
  /** An eventfd of this process. */
  readonly wakeFd: number;
}

/** A message with an `id` answers the question of that id. */
export interface WorkerMessage {
  readonly kind: string;
  readonly id?: number;
}

/**
 * Three semi-spaces of 2 MB (V8 counts so). Node's own limit lets a worker under load keep 34 MB of garbage; the data path
 * makes so little that more room saves nothing (docs/PERFORMANCE.md).
 */
const maxYoungGenerationSizeMb = 6;

export interface WorkerThreadHandler<From> {
  onMessage(message: From): void;
  /** The thread ended although nobody asked it to. */
  onDied(error: Error): void;
}

export class WorkerThread<To, From extends WorkerMessage> {
  readonly #worker: Worker;
  readonly #handler: WorkerThreadHandler<From>;
  readonly #ended = Promise.withResolvers<void>();
  #wakeFd = -1;
  #queued: To[] = [];
  readonly #answers = new Map<number, (answer: From) => void>();
  #nextId = 1;
  #stopping = false;

  /** @param start.data structured-clone safe; `workerData` of the thread */
  constructor(start: { readonly entry: URL; readonly data: unknown }, handler: WorkerThreadHandler<From>) {
    this.#handler = handler;
    this.#worker = new Worker(start.entry, {
      workerData: start.data,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    this.#worker.on('message', (message: From | WorkerReady) => this.#receive(message));
    this.#worker.on('error', (error) =>
      handler.onDied(error instanceof Error ? error : new Error(String(error))),
    );
    this.#worker.on('exit', (code) => {
      this.#ended.resolve();
      if (!this.#stopping) handler.onDied(new Error(`A data worker ended with code ${code}`));
    });
  }

  /** In order. */
  post(message: To): void {
    if (this.#stopping) return;
    if (this.#wakeFd < 0) this.#queued.push(message);
    else this.#send(message);
  }

  /** Posts a question; the worker's answer carries the same id. Rejects if it is of another kind. */
  async ask<Kind extends From['kind']>(
    kind: Kind,
    question: (id: number) => To,
  ): Promise<Extract<From, { readonly kind: Kind }>> {
    const id = this.#nextId++;
    const answer = await new Promise<From>((resolve) => {
      this.#answers.set(id, resolve);
      this.post(question(id));
    });
    if (!isOfKind(answer, kind))
      throw new Error(`A data worker answered ${answer.kind} when asked for ${kind}`);
    return answer;
  }

  /** Posts the last message, which ends the thread, and resolves when it has ended; it may have before. */
  stop(last: To): Promise<void> {
    this.post(last);
    this.#stopping = true;
    return this.#ended.promise;
  }

  #send(message: To): void {
    this.#worker.postMessage(message);
    wakeReactor(this.#wakeFd);
  }

  #receive(message: From | WorkerReady): void {
    if (isReady(message)) {
      this.#wakeFd = message.wakeFd;
      for (const queued of this.#queued.splice(0)) this.#send(queued);
    } else if (message.id !== undefined) {
      this.#answers.get(message.id)?.(message);
      this.#answers.delete(message.id);
    } else {
      this.#handler.onMessage(message);
    }
  }
}

function isReady(message: WorkerMessage | WorkerReady): message is WorkerReady {
  return message.kind === 'ready';
}

function isOfKind<From extends WorkerMessage, Kind extends From['kind']>(
  message: From,
  kind: Kind,
): message is Extract<From, { readonly kind: Kind }> {
  return message.kind === kind;
}
