// A results file: what was measured in each round, and what is quoted from it. Ratios are taken within each round,
// where the peers ran one right after the other, and then the median: a machine that is slower for a minute is slower
// for all of them.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { BenchError } from './bench-error.ts';
import type { Machine } from './machine.ts';
import type { Effort } from './measurements.ts';
import { median } from './median.ts';
import { type Figures, type MetricName, metricNames, metrics } from './metrics.ts';
import type { PeerName } from './peers/peer.ts';

export type Round = Partial<Record<PeerName, Figures>>;

export interface Results {
  readonly date: string;
  readonly machine: Machine;
  readonly effort: Effort;
  /** Titles of the peers that were measured, in order. */
  readonly peers: Partial<Record<PeerName, string>>;
  readonly rounds: readonly Round[];
}

/** Every round's figure; empty when it was not measured. */
export function valuesOf(results: Results, peer: PeerName, metric: MetricName): number[] {
  return results.rounds.map((round) => round[peer]?.[metric]).filter((value) => value !== undefined);
}

/** Undefined when it was not measured. */
export function medianOf(results: Results, peer: PeerName, metric: MetricName): number | undefined {
  return median(valuesOf(results, peer, metric));
}

export interface Ratio {
  readonly peer: PeerName;
  /** Of several: the best of each round. */
  readonly base: PeerName | readonly PeerName[];
}

/** The median over the rounds of `peer` divided by `base`; undefined when no round has both. */
export function ratioOf(results: Results, metric: MetricName, { peer, base }: Ratio): number | undefined {
  const best = metrics[metric].better === 'higher' ? Math.max : Math.min;
  const ratios = results.rounds.flatMap((round) => {
    const value = round[peer]?.[metric];
    const bases = [base].flat().map((name) => round[name]?.[metric]);
    const measured = bases.filter((each) => each !== undefined);
    if (value === undefined || measured.length < bases.length) return [];
    const divisor = best(...measured);
    return divisor === 0 ? [] : [value / divisor];
  });
  return median(ratios);
}

/** Writes the file with the figures rounded to what they can mean. */
export function writeResults(file: string, results: Results): void {
  mkdirSync(dirname(file), { recursive: true });
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  writeFileSync(file, `${JSON.stringify(results, round, 2)}\n`);
}

/** Throws BenchError `results` when the file is not one of ours. */
export function readResults(file: string): Results {
  let results: Partial<Results>;
  try {
    results = JSON.parse(readFileSync(file, 'utf8')) as Partial<Results>;
  } catch (error) {
    throw new BenchError('results', `Could not read results file "${file}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (Array.isArray(results.rounds) && results.peers !== undefined) return results as Results;
  throw new BenchError('results', `File "${file}" holds no benchmark results`);
}

/** The metrics that at least one of the peers has, in the order of the table of metrics. */
export function measuredMetrics(
  results: Results,
  peers: readonly PeerName[] = Object.keys(results.peers) as PeerName[],
): MetricName[] {
  return metricNames.filter((metric) => peers.some((peer) => valuesOf(results, peer, metric).length > 0));
}
