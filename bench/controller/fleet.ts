// The bench's hold on one process of nodes (node-fleet.ts).

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { FleetAnswer, FleetOrder, FleetReport } from './node-fleet.ts';

export class Fleet {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  /** Resolves when the process is up; no node connects before connect(). */
  static async start(): Promise<Fleet> {
    const child = fork(join(import.meta.dirname, 'node-fleet.ts'), { serialization: 'advanced' });
    await once(child, 'spawn');
    const fleet = new Fleet(child);
    // The first answer says that its modules are loaded.
    await fleet.report();
    return fleet;
  }

  /** Resolves when every node of the order was told everything, with the workloads that the last one got first. */
  async connect(order: FleetOrder): Promise<number> {
    this.#process.send({ start: order });
    for (;;) {
      const answer = await this.#answer();
      if ('synced' in answer && answer.synced === order.nodes.length) return answer.workloads;
    }
  }

  async report(): Promise<FleetReport> {
    this.#process.send({ report: true });
    for (;;) {
      const answer = await this.#answer();
      if ('report' in answer) return answer.report;
    }
  }

  close(): void {
    this.#process.disconnect();
  }

  async #answer(): Promise<FleetAnswer> {
    const settled = new AbortController();
    const { signal } = settled;
    const ended = once(this.#process, 'exit', { signal }).then(() => {
      throw new Error('A process of nodes ended before its time');
    });
    ended.catch(() => {});
    try {
      const [answer] = await Promise.race([once(this.#process, 'message', { signal }), ended]);
      return answer as FleetAnswer;
    } finally {
      settled.abort();
    }
  }
}
