// A loop without I/O for connections under test: time and turns move by hand.

import { ManualClock } from '../../runtime/clock.ts';
import type { Http1Loop } from '../http1-settings.ts';
import type { TurnTask } from '../../io/reactor.ts';

export class FakeLoop implements Http1Loop {
  readonly #clock = new ManualClock(1_000);
  #tasks: TurnTask[] = [];

  get now(): number {
    return this.#clock.now();
  }

  after(delayMs: number, run: () => void) {
    return this.#clock.after(delayMs, run);
  }

  atTurnEnd(task: TurnTask): void {
    this.#tasks.push(task);
  }

  /** Ends the turn: runs what asked for it, and what that asks for. */
  endTurn(): void {
    for (let runs = 0; this.#tasks.length > 0; runs++) {
      if (runs > 10_000) throw new Error('The turn does not end');
      this.#tasks.shift()?.onTurnEnd();
    }
  }

  /** Lets time pass, then ends the turn. */
  pass(ms: number): void {
    this.#clock.advance(ms);
    this.endTurn();
  }
}
