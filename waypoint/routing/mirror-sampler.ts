// Which requests are mirrored: numerator of each denominator, exactly, spread evenly, from a random phase so that workers
// do not mirror in step. One sampler a worker; a filter is forgotten with the configuration it came from.

import type { MirrorFilter } from '../../mesh/model/routing.ts';
import { WeightedChoice, type WeightedChoiceOptions } from './weighted-choice.ts';

export class MirrorSampler {
  readonly #choices = new WeakMap<MirrorFilter, WeightedChoice>();
  readonly #options: WeightedChoiceOptions;

  constructor(options: WeightedChoiceOptions) {
    this.#options = options;
  }

  /** Whether the filter takes the next request; a denominator of 0 takes none. */
  takes(filter: MirrorFilter): boolean {
    const { numerator, denominator } = filter;
    if (numerator <= 0 || denominator <= 0) return false;
    if (numerator >= denominator) return true;
    let choice = this.#choices.get(filter);
    if (choice === undefined) {
      choice = new WeightedChoice([numerator, denominator - numerator], this.#options);
      this.#choices.set(filter, choice);
    }
    return choice.next() === 0;
  }
}
