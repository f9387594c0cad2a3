// How a data worker ends without losing what is under way. Alone: nobody else takes connections, so it serves new ones,
// too, until none is open for a moment. Replaced: a newer process has the new ones; what began at the listeners of this
// one still arrives for a while. After either nothing is accepted, and tunnels end with a farewell.

import type { Reactor } from '../mesh/io/reactor.ts';

export type DrainKind = 'alone' | 'replaced';

/**
 * How long a worker that was replaced still accepts, ms: handshakes that began at its listeners, one lost packet and its
 * repetition after a second included.
 */
const lingerMs = 1_500;

export interface WorkerDrainOptions {
  /** What is open now. */
  readonly connections: () => number;
  /** Tunnels of others to this node's pods. */
  readonly tunnels: () => number;
  /** Every tunnel takes what is on its way, and then nothing more. */
  readonly sayGoodbye: () => void;
  /** Takes what waits in the kernel's queues, and closes the listeners. */
  readonly stopListening: () => void;
  /** Nothing is open any more; may be called again. */
  readonly onDrained: () => void;
}

export class WorkerDrain {
  #options: WorkerDrainOptions;
  #state: 'serving' | 'lingering' | 'closing';

  constructor(kind: DrainKind, reactor: Pick<Reactor, 'after'>, options: WorkerDrainOptions) {
    this.#options = options;
    this.#state = kind === 'alone' ? 'serving' : 'lingering';
    if (kind === 'replaced') {
      options.sayGoodbye();
      reactor.after(lingerMs, () => this.#close());
    }
  }

  /** A tunnel that is accepted now serves what it was made for, and nothing after that. */
  get refusesTunnels(): boolean {
    return this.#state !== 'serving';
  }

  /** To be called once at the beginning, then whenever a connection or a tunnel has ended. */
  check(): void {
    const { connections, tunnels, onDrained } = this.#options;
    if (connections() > 0) return;
    if (this.#state === 'serving') return this.#close();
    if (this.#state === 'closing' && tunnels() === 0) onDrained();
  }

  #close(): void {
    const wasServing = this.#state === 'serving';
    this.#state = 'closing';
    this.#options.stopListening();
    if (wasServing) this.#options.sayGoodbye();
    this.check();
  }
}
