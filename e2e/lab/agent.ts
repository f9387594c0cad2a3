// The owner's side of an agent: one process inside a namespace, driven by calls that return promises.

import { join } from 'node:path';
import type { AgentOperation, AgentReply, ArgumentOf, ResultOf } from './agent-protocol.ts';
import { LabError } from './lab-error.ts';
import type { LabProcess } from './lab-process.ts';

/** What an operation met inside the namespace, for example a refused connection; `reason` is the system's code. */
export class AgentError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'AgentError';
    this.reason = reason;
  }
}

/** The program to start inside the namespace. */
export const agentArgv: readonly string[] = [process.execPath, join(import.meta.dirname, 'agent-main.ts')];

export class Agent {
  readonly #process: LabProcess;
  readonly #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #sequence = 0;

  /** The process must have been started with a channel. */
  constructor(process_: LabProcess) {
    this.#process = process_;
    process_.child.on('message', (message) => this.#take(message as AgentReply));
    process_.ended.addEventListener('abort', () => this.#fail(process_.ended.reason as Error));
  }

  /** Rejects with AgentError when the operation failed there, with LabError when the agent itself is gone. */
  call<K extends AgentOperation>(operation: K, argument: ArgumentOf<K>): Promise<ResultOf<K>> {
    return new Promise((resolve, reject) => {
      const sequence = ++this.#sequence;
      this.#pending.set(sequence, { resolve, reject });
      this.#process.child.send({ sequence, operation, argument }, (error) => {
        if (error === null) return;
        this.#pending.delete(sequence);
        reject(new LabError('agent', `Could not reach agent "${this.#process.name}": ${error.message}`));
      });
    });
  }

  async stop(): Promise<void> {
    await this.#process.stop('SIGTERM', 2000);
  }

  #take(reply: AgentReply): void {
    const pending = this.#pending.get(reply.sequence);
    this.#pending.delete(reply.sequence);
    if ('error' in reply) pending?.reject(new AgentError(reply.error.code, reply.error.message));
    else pending?.resolve(reply.result as never);
  }

  #fail(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}
