import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WeightedChoice } from './weighted-choice.ts';

const weights = fc.array(fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 1_000_000 })), {
  minLength: 1,
  maxLength: 16,
});
const seed = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));

function choiceOf(list: readonly number[], stream: Iterator<number>): WeightedChoice {
  return new WeightedChoice(list, { random: () => stream.next().value as number });
}

describe('WeightedChoice', () => {
  test('over any number of choices each count is near its share', () => {
    fc.assert(
      fc.property(weights, seed, fc.integer({ min: 1, max: 600 }), (list, stream, choices) => {
        const total = list.reduce((sum, weight) => sum + weight, 0);
        fc.pre(total > 0);
        const choice = choiceOf(list, stream);
        const counts = list.map(() => 0);
        const depth = Math.ceil(Math.log2(list.length));
        let farthest = 0;
        for (let n = 1; n <= choices; n++) {
          const index = choice.next();
          counts[index] = (counts[index] as number) + 1;
          for (const [at, weight] of list.entries()) {
            farthest = Math.max(farthest, Math.abs((counts[at] as number) - (n * weight) / total));
          }
        }
        expect(farthest).toBeLessThan(Math.max(1, depth));
      }),
      { numRuns: 150 },
    );
  });

  test('over one cycle each count is its weight', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 9 }),
        seed,
        (list, stream) => {
          const total = list.reduce((sum, weight) => sum + weight, 0);
          const choice = choiceOf(list, stream);
          const counts = list.map(() => 0);
          for (let n = 0; n < total; n++) counts[choice.next()]! += 1;
          expect(counts).toEqual(list);
        },
      ),
    );
  });

  test('never chooses what has no weight', () => {
    fc.assert(
      fc.property(weights, seed, (list, stream) => {
        const choice = choiceOf(list, stream);
        for (let n = 0; n < 50; n++) {
          const index = choice.next();
          if (index >= 0) expect(list[index]).toBeGreaterThan(0);
          else expect(list.every((weight) => weight === 0)).toBe(true);
        }
      }),
    );
  });

  test('has nothing to choose when all weights are 0 or there are none', () => {
    const random = () => 0.5;
    expect(new WeightedChoice([0, 0], { random }).next()).toBe(-1);
    expect(new WeightedChoice([], { random }).next()).toBe(-1);
    expect(new WeightedChoice([Number.NaN, -1, 0.5], { random }).next()).toBe(-1);
  });

  test('the first choice of many waypoints has the right odds', () => {
    const phases = 1_000;
    let canary = 0;
    for (let i = 0; i < phases; i++) {
      canary += new WeightedChoice([95, 5], { random: () => i / phases }).next();
    }
    expect(canary).toBe(50);
  });

  test('a small share is spread evenly, not bunched', () => {
    const choice = new WeightedChoice([95, 5], { random: () => 0 });
    const taken = Array.from({ length: 200 }, () => choice.next());
    const gaps = taken
      .flatMap((index, at) => (index === 1 ? [at] : []))
      .map((at, n, all) => at - (all[n - 1] ?? at));
    expect(gaps.slice(1)).toEqual(Array(9).fill(20));
  });
});
