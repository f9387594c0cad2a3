// Keeps the translation of the latest resources: in pieces, between which the loop serves nodes and signs certificates, so
// that a large mesh that changes all the time delays nobody. Of resources that come while one translation is under way only
// the last are translated after it; the first ones are translated at once, because nothing is served before.

import type { Clock } from '../mesh/runtime/clock.ts';
import type { Resources } from './resources/resources.ts';
import type { Problem } from './source/problem.ts';
import { type Translation, translateInSteps, type TranslateOptions } from './translate/translate.ts';

export interface TranslatorInput {
  readonly resources: Resources;
  readonly problems: readonly Problem[];
}

export interface TranslatorHandler {
  /** @param durationMs of the work itself, without the pauses */
  onTranslated(translation: Translation, input: TranslatorInput, durationMs: number): void;
  /** A translation threw: what is in force stays. */
  onFailed(error: unknown): void;
}

export class Translator {
  readonly #options: TranslateOptions;
  readonly #clock: Clock;
  readonly #handler: TranslatorHandler;
  #first = true;
  #busy = false;
  #next: TranslatorInput | undefined;
  #closed = false;

  constructor(options: TranslateOptions, clock: Clock, handler: TranslatorHandler) {
    this.#options = options;
    this.#clock = clock;
    this.#handler = handler;
  }

  /** Translates, now or after what is under way. The first call returns when it is done, and throws what it throws. */
  update(resources: Resources, problems: readonly Problem[]): void {
    if (this.#closed) return;
    const input = { resources, problems };
    if (this.#first) {
      this.#first = false;
      return this.#finish(input);
    }
    this.#next = input;
    if (!this.#busy) this.#begin();
  }

  /** What is under way is given up. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#next = undefined;
  }

  #finish(input: TranslatorInput): void {
    const from = this.#clock.monotonic();
    const steps = translateInSteps(input.resources, this.#options);
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    this.#handler.onTranslated(step.value, input, this.#clock.monotonic() - from);
  }

  #begin(): void {
    const input = this.#next;
    this.#next = undefined;
    this.#busy = input !== undefined;
    if (input === undefined) return;
    const steps = translateInSteps(input.resources, this.#options);
    let workMs = 0;
    const proceed = (): void => {
      if (this.#closed) return;
      const from = this.#clock.monotonic();
      try {
        const step = steps.next();
        workMs += this.#clock.monotonic() - from;
        if (step.done !== true) return void setImmediate(proceed);
        this.#handler.onTranslated(step.value, input, workMs);
      } catch (error) {
        this.#handler.onFailed(error);
      }
      this.#begin();
    };
    setImmediate(proceed);
  }
}
