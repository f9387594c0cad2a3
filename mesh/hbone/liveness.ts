// Finds out that the other end of a tunnel is gone although TCP has not noticed: a PING after silence, and an end when
// nothing answers. Any received byte counts as life, so a busy tunnel is never pinged.

import type { H2Session } from '../h2/session.ts';
import type { Reactor } from '../io/reactor.ts';
import type { Timer } from '../runtime/clock.ts';
import type { LivenessOptions } from './tunnel-settings.ts';

const payload = new Uint8Array(8);

export class Liveness {
  #reactor: Reactor;
  #session: H2Session;
  #options: LivenessOptions;
  #onDead: () => void;
  #timer: Timer | undefined;
  #heard = false;
  #pinged = false;

  constructor(reactor: Reactor, session: H2Session, options: LivenessOptions, onDead: () => void) {
    this.#reactor = reactor;
    this.#session = session;
    this.#options = options;
    this.#onDead = onDead;
    this.#watch(options.pingAfterMs);
  }

  /** Bytes arrived. */
  heard(): void {
    this.#heard = true;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #watch(delayMs: number): void {
    this.#heard = false;
    this.#timer = this.#reactor.after(delayMs, () => this.#check());
  }

  #check(): void {
    if (this.#heard) {
      this.#pinged = false;
      return this.#watch(this.#options.pingAfterMs);
    }
    if (this.#pinged) return this.#onDead();
    this.#pinged = true;
    this.#session.ping(payload);
    this.#session.flush();
    this.#watch(this.#options.pingTimeoutMs);
  }
}
