// 200,000 connections through Weft: memory and descriptors of both ztunnels afterwards must be what they were after
// the first tenth, when code is compiled and pools are filled.

import { setTimeout as delay } from 'node:timers/promises';
import { BenchError } from './bench-error.ts';
import { type ConnectResult, loadArguments, refuseFailures } from './measurements.ts';
import type { RunningPeer } from './peers/peer.ts';
import { openDescriptors, processTree, residentBytes } from './process-usage.ts';
import type { Site } from './site.ts';

const batches = 10;
const connectionsPerBatch = 20_000;
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
  /** Least-squares slope after the first batch, bytes per connection, by side. */
  readonly bytesPerConnection: readonly number[];
  readonly flat: boolean;
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
  const steady = samples.slice(1);
  const bytesPerConnection = peer.proxies.map((_, side) =>
    slope(steady.map((sample) => [sample.connections, sample.residentBytes[side] ?? 0])),
  );
  const descriptorsFlat = peer.proxies.every(
    (_, side) => (samples.at(-1)?.descriptors[side] ?? 0) <= (samples[0]?.descriptors[side] ?? 0) + 2,
  );
  const flat = descriptorsFlat && bytesPerConnection.every((bytes) => bytes <= toleratedBytes);
  return { samples, bytesPerConnection, flat };
}

function take(peer: RunningPeer, connections: number): SoakSample {
  const trees = peer.proxies.map((proxy) => processTree(proxy.identity.pid));
  return { connections, residentBytes: trees.map(residentBytes), descriptors: trees.map(openDescriptors) };
}

function describe({ connections, residentBytes: bytes, descriptors }: SoakSample): string {
  const memory = bytes.map((value) => `${(value / 1e6).toFixed(1)} MB`).join(', ');
  return `after ${connections} connections: resident ${memory}; descriptors ${descriptors.join(', ')}`;
}

/** Of y over x, by least squares. Throws BenchError `results` for fewer than two points. */
export function slope(points: readonly (readonly [number, number])[]): number {
  if (points.length < 2) throw new BenchError('results', 'A slope needs at least two points');
  const mean = (of: 0 | 1): number => points.reduce((total, point) => total + point[of], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const covariance = points.reduce((total, [x, y]) => total + (x - meanX) * (y - meanY), 0);
  const variance = points.reduce((total, [x]) => total + (x - meanX) ** 2, 0);
  return covariance / variance;
}
