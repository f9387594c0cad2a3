// What moved between two results files by more than the noise. Noise is how far the rounds of either file lie apart,
// and never taken to be less than three per cent.

import { type MetricName, metrics } from './metrics.ts';
import type { PeerName } from './peers/peer.ts';
import { measuredMetrics, medianOf, type Results, valuesOf } from './results.ts';

const leastNoise = 0.03;

export interface Movement {
  readonly peer: PeerName;
  readonly metric: MetricName;
  readonly before: number;
  readonly after: number;
  /** Relative to `before`: 0.1 is ten per cent more. */
  readonly change: number;
  /** Half the spread of the rounds, relative, of the noisier file. */
  readonly noise: number;
  readonly better: boolean;
}

export function compare(before: Results, after: Results): Movement[] {
  const peers = Object.keys(after.peers) as PeerName[];
  return measuredMetrics(after).flatMap((metric) =>
    peers.flatMap((peer) => {
      const movement = compareOne(before, after, { peer, metric });
      return movement === undefined ? [] : [movement];
    }),
  );
}

function compareOne(
  before: Results,
  after: Results,
  { peer, metric }: { readonly peer: PeerName; readonly metric: MetricName },
): Movement | undefined {
  const [old, now] = [medianOf(before, peer, metric), medianOf(after, peer, metric)];
  if (old === undefined || now === undefined || old === 0) return undefined;
  const change = now / old - 1;
  const noise = Math.max(
    leastNoise,
    ...[before, after].map((results) => spread(valuesOf(results, peer, metric))),
  );
  if (Math.abs(change) <= noise) return undefined;
  return {
    peer,
    metric,
    before: old,
    after: now,
    change,
    noise,
    better: change > 0 === (metrics[metric].better === 'higher'),
  };
}

/** What was not the same when the two were taken, so that a movement may come from there; one line each. */
export function describeDifferences(before: Results, after: Results): string[] {
  const { commit: _old, ...machineBefore } = before.machine;
  const { commit: _new, ...machineAfter } = after.machine;
  const was = { ...machineBefore, ...before.effort };
  const is = { ...machineAfter, ...after.effort };
  return (Object.keys(is) as (keyof typeof is)[])
    .filter((name) => was[name] !== is[name])
    .map((name) => `not the same: ${name} ${was[name]} -> ${is[name]}`);
}

/** Half the distance of the extremes, relative to their mean. */
function spread(values: readonly number[]): number {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high + low > 0 ? (high - low) / (high + low) : 0;
}

/** One line each, the largest change first. */
export function describeMovements(movements: readonly Movement[]): string[] {
  if (movements.length === 0) return ['Nothing moved by more than the noise.'];
  return movements
    .toSorted((a, b) => Math.abs(b.change) - Math.abs(a.change))
    .map(({ peer, metric, before, after, change, noise, better }) => {
      const { title, unit, digits } = metrics[metric];
      const percent = (part: number): string => `${(part * 100).toFixed(0)} %`;
      const values = `${before.toFixed(digits)} -> ${after.toFixed(digits)} ${unit}`;
      const verdict = better ? 'better' : 'worse';
      return `${verdict.padEnd(7)} ${peer.padEnd(8)} ${title}: ${values} (${change > 0 ? '+' : ''}${percent(change)}, noise ${percent(noise)})`;
    });
}
