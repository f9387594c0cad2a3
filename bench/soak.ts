// 200,000 connections through Weft: memory and descriptors of both ztunnels must not grow after the first tenth, when
// code is compiled and pools are filled. Resident memory swings by several MB with each collection, so a slope counts
// only beyond twice its standard error, and one that could still hide growth is called undecided, not flat.

import { setTimeout as delay } from 'node:timers/promises';
import { BenchError } from './bench-error.ts';
import { type ConnectResult, loadArguments, refuseFailures } from './measurements.ts';
import type { RunningPeer } from './peers/peer.ts';
import { openDescriptors, processTree, residentBytes } from './process-usage.ts';
import type { Site } from './site.ts';

const batches = 20;
const connectionsPerBatch = 10_000;
const firstSteadyBatch = 2;
/** Growth that counts as none: bytes of resident memory per connection. */
const toleratedBytes = 20;

export interface SoakSample {
  readonly connections: number;
  /** Client side, then server side. */
  readonly residentBytes: readonly number[];
  readonly descriptors: readonly number[];
}

export interface SoakReport {
  readonly samples: readonly SoakSample[];
  /** After the first tenth, bytes of resident memory per connection, by side. */
  readonly growth: readonly Slope[];
  readonly verdict: SoakVerdict;
}

export type SoakVerdict = 'flat' | 'growing' | 'undecided';

/** Of a least-squares line. */
export interface Slope {
  readonly value: number;
  readonly standardError: number;
}

export async function soak(
  site: Site,
  peer: RunningPeer,
  print: (line: string) => void,
): Promise<SoakReport> {
  const samples: SoakSample[] = [];
  const load = [
    ...loadArguments(peer.targets.echo, peer),
    '--threads',
    '4',
    '--count',
    `${connectionsPerBatch}`,
  ];
  for (let batch = 1; batch <= batches; batch++) {
    refuseFailures(await site.run<ConnectResult>('connect', load));
    // Closing takes its time on both sides; what is still open then is held, not closing.
    await delay(1000);
    const sample = take(peer, batch * connectionsPerBatch);
    samples.push(sample);
    print(describe(sample));
  }
  const steady = samples.slice(firstSteadyBatch);
  const growth = peer.proxies.map((_, side) =>
    slope(steady.map((sample) => [sample.connections, sample.residentBytes[side] ?? 0])),
  );
  const leaks = peer.proxies.some(
    (_, side) => (samples.at(-1)?.descriptors[side] ?? 0) > (samples[0]?.descriptors[side] ?? 0) + 2,
  );
  return { samples, growth, verdict: leaks ? 'growing' : judge(growth) };
}

/** The worst of the sides. */
export function judge(growth: readonly Slope[]): SoakVerdict {
  if (growth.some(({ value, standardError }) => value - 2 * standardError > toleratedBytes)) return 'growing';
  const sure = growth.every(({ value, standardError }) => value + 2 * standardError <= toleratedBytes);
  return sure ? 'flat' : 'undecided';
}

function take(peer: RunningPeer, connections: number): SoakSample {
  const trees = peer.proxies.map((proxy) => processTree(proxy.identity.pid));
  return { connections, residentBytes: trees.map(residentBytes), descriptors: trees.map(openDescriptors) };
}

function describe({ connections, residentBytes: bytes, descriptors }: SoakSample): string {
  const memory = bytes.map((value) => `${(value / 1e6).toFixed(1)} MB`).join(', ');
  return `after ${connections} connections: resident ${memory}; descriptors ${descriptors.join(', ')}`;
}

/** Of y over x, by least squares. Throws BenchError `results` for fewer than three points. */
export function slope(points: readonly (readonly [number, number])[]): Slope {
  if (points.length < 3)
    throw new BenchError('results', 'A slope with its error needs at least three points');
  const mean = (of: 0 | 1): number => points.reduce((total, point) => total + point[of], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const covariance = points.reduce((total, [x, y]) => total + (x - meanX) * (y - meanY), 0);
  const variance = points.reduce((total, [x]) => total + (x - meanX) ** 2, 0);
  const value = covariance / variance;
  const residual = points.reduce((total, [x, y]) => total + (y - meanY - value * (x - meanX)) ** 2, 0);
  return { value, standardError: Math.sqrt(residual / (points.length - 2) / variance) };
}
