// The owner's side of a client inside a pod (caller-main.ts): batches in, every answer out.

import { join } from 'node:path';
import type { LabProcess } from '../lab/lab-process.ts';
import type { MeshLab, MeshPod } from '../mesh/mesh-lab.ts';
import type { Answer, Batch, BatchAnswers, Call } from './caller-main.ts';

export type BatchOptions = Pick<Batch, 'times' | 'connections'> & { readonly concurrency?: number };

export class Caller {
  readonly #process: LabProcess;
  readonly #waiting = new Map<number, (answers: BatchAnswers) => void>();
  #sequence = 0;

  /** Starts it in the pod; it ends with the lab. */
  constructor({ lab }: MeshLab, { host, name }: MeshPod) {
    this.#process = lab.spawn(host, {
      name: `caller-${name}`,
      argv: [process.execPath, join(import.meta.dirname, 'caller-main.ts')],
      channel: true,
    });
    this.#process.child.on('message', (answers: BatchAnswers) => {
      this.#waiting.get(answers.sequence)?.(answers);
      this.#waiting.delete(answers.sequence);
    });
  }

  /** The answers of each call, in the order of the calls. */
  async batch(
    calls: readonly Call[],
    { concurrency = 4, ...options }: BatchOptions,
  ): Promise<readonly (readonly Answer[])[]> {
    const sequence = ++this.#sequence;
    const answered = new Promise<BatchAnswers>((resolve, reject) => {
      this.#waiting.set(sequence, resolve);
      this.#process.ended.addEventListener('abort', () => reject(this.#process.ended.reason as Error));
    });
    this.#process.child.send({ sequence, calls, concurrency, ...options } satisfies Batch);
    return (await answered).answers;
  }
}
