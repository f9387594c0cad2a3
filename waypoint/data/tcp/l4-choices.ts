// Backends of TCP and TLS routes by their weights; a choice lives as long as the rule it is made of.

import type { Backend, L4Rule } from '../../../mesh/model/routing.ts';
import { WeightedChoice } from '../../routing/weighted-choice.ts';

export class L4Choices {
  readonly #choices = new WeakMap<L4Rule, WeightedChoice>();
  readonly #random: () => number;

  /** @param random uniform in [0, 1) */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Undefined if no backend takes anything. */
  next(rule: L4Rule): Backend | undefined {
    let choice = this.#choices.get(rule);
    if (choice === undefined) {
      const weights = rule.backends.map(({ weight }) => weight);
      choice = new WeightedChoice(weights, { random: this.#random });
      this.#choices.set(rule, choice);
    }
    return rule.backends[choice.next()];
  }
}
