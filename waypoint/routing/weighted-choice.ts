// Chooses among backends by weight, exactly: after n choices each one's count differs from its share by less than the
// depth of a small tree (1 for two backends), and over a full cycle not at all. The phase is random, so that workers and
// waypoints do not march in step and the first choice already has the right odds. Changed weights are a new choice.

export interface WeightedChoiceOptions {
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * A binary tree over the weights. Each inner node adds its left weight to an accumulator and goes left when that
 * overflows its total: after n visits it went left floor((phase + n * left) / total) times.
 */
export class WeightedChoice {
  readonly #leaves: number;
  /** Heap order: node 1 is the root, the children of n are 2n and 2n + 1, leaves come last. */
  readonly #totals: Float64Array;
  readonly #phases: Float64Array;

  /** Weights are whole numbers, 0 takes nothing; anything else counts as 0. */
  constructor(weights: readonly number[], options: WeightedChoiceOptions) {
    let leaves = 1;
    while (leaves < weights.length) leaves *= 2;
    this.#leaves = leaves;
    this.#totals = new Float64Array(2 * leaves);
    this.#phases = new Float64Array(leaves);
    for (const [index, weight] of weights.entries()) {
      this.#totals[leaves + index] = Number.isSafeInteger(weight) && weight > 0 ? weight : 0;
    }
    for (let node = leaves - 1; node > 0; node--) {
      const total = this.#total(2 * node) + this.#total(2 * node + 1);
      this.#totals[node] = total;
      this.#phases[node] = Math.floor(options.random() * total);
    }
  }

  /** Index of the next one; -1 if all weights are 0 or there are none. */
  next(): number {
    if (this.#total(1) === 0) return -1;
    let node = 1;
    while (node < this.#leaves) {
      const total = this.#total(node);
      const phase = (this.#phases[node] as number) + this.#total(2 * node);
      const overflows = phase >= total;
      this.#phases[node] = overflows ? phase - total : phase;
      node = 2 * node + (overflows ? 0 : 1);
    }
    return node - this.#leaves;
  }

  #total(node: number): number {
    return this.#totals[node] as number;
  }
}
