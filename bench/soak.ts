// Minutes of everything at once through Weft: bulk, ping-pong, short connections, connections that are reset, a pod that
// joins and leaves the mesh under traffic. Memory and descriptors of both ztunnels must not grow after the first fifth,
// when code is compiled and pools are filled. Resident memory swings by several MB with each collection, so a slope counts
// only beyond twice its standard error, and one that could still hide growth is called undecided, not flat.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BenchError } from './bench-error.ts';
import { type ConnectResult, dialArguments, refuseFailures } from './measurements.ts';
import { directTargets, type RunningPeer } from './peers/peer.ts';
import { podManifests } from './peers/weft-manifests.ts';
import { openDescriptors, processTree, residentBytes } from './process-usage.ts';
import type { Place, Site } from './site.ts';

const sampleMs = 5_000;
/** Of the time, before the first sample that counts. */
const warmUpShare = 0.2;
const burstSeconds = 3;
/** Growth that counts as none: resident bytes a minute. */
const toleratedBytes = 500_000;
/** The same of descriptors: less than one in ten minutes is none. */
const toleratedDescriptors = 0.1;
/** A pod that leaves keeps its listeners for five seconds; all descriptors are back after this. */
const restMs = 9_000;

export interface SoakSample {
  readonly minutes: number;
  /** Client side, then server side. */
  readonly residentBytes: readonly number[];
  readonly descriptors: readonly number[];
}

/** What passed meanwhile. */
interface Passed {
  gigabytes: number;
  roundTrips: number;
  connections: number;
  resets: number;
  /** Times the pod joined or left. */
  moves: number;
  /** Connections to it that failed: those under way as it moved may. */
  lostInMoves: number;
}

export interface SoakReport {
  readonly samples: readonly SoakSample[];
  readonly passed: Passed;
  /** A minute, by side. */
  readonly memory: readonly Slope[];
  readonly descriptors: readonly Slope[];
  /** Before all and after it, at rest, by side. */
  readonly atRest: readonly (readonly [number, number])[];
  readonly verdict: SoakVerdict;
}

export type SoakVerdict = 'flat' | 'growing' | 'undecided';

/** Of a least-squares line. */
export interface Slope {
  readonly value: number;
  readonly standardError: number;
}

interface SoakOptions {
  readonly minutes: number;
  readonly print: (line: string) => void;
}

/** @param peer Weft between the two nodes of `sites` */
export async function soak(
  sites: Readonly<Record<Place, Site>>,
  peer: RunningPeer,
  { minutes, print }: SoakOptions,
): Promise<SoakReport> {
  const ended = new AbortController();
  const passed: Passed = { gigabytes: 0, roundTrips: 0, connections: 0, resets: 0, moves: 0, lostInMoves: 0 };
  const before = take(peer, 0);
  const loads = startLoads(sites, peer, { passed, ended: ended.signal });
  const samples: SoakSample[] = [];
  const start = performance.now();
  try {
    while (performance.now() - start < minutes * 60_000) {
      // A load that fails ends the soak at once.
      await Promise.race([delay(sampleMs), ...loads]);
      const sample = take(peer, (performance.now() - start) / 60_000);
      samples.push(sample);
      if (samples.length % 6 === 0) print(describeSample(sample));
    }
  } finally {
    ended.abort();
  }
  await Promise.all(loads);
  movePod(sites, 'out');
  await delay(restMs);
  return judged(samples, passed, { before, after: take(peer, minutes) });
}

/** Each repeats its load until the end; rejects when one fails that may not. */
function startLoads(
  sites: Readonly<Record<Place, Site>>,
  { targets }: RunningPeer,
  { passed, ended }: { readonly passed: Passed; readonly ended: AbortSignal },
): Promise<void>[] {
  const { far, near } = sites;
  const window = ['--seconds', `${burstSeconds}`, '--ramp', '0'];
  const repeat = async (load: () => Promise<void>): Promise<void> => {
    while (!ended.aborted) await load();
  };
  const connect = async (...more: string[]): Promise<number> => {
    const args = [...dialArguments(targets.echo), ...window, ...more];
    const result = await far.run<ConnectResult>('connect', args);
    refuseFailures(result);
    return result.count;
  };
  return [
    repeat(async () => {
      const args = [
        ...dialArguments(targets.sink),
        ...window,
        '--streams',
        '2',
        '--counter',
        far.counterFile,
      ];
      passed.gigabytes += (await far.run<{ readonly bytes: number }>('bulk', args)).bytes / 1e9;
    }),
    repeat(async () => {
      const args = [...dialArguments(targets.echo), ...window];
      passed.roundTrips += (await far.run<{ readonly count: number }>('round-trip', args)).count;
    }),
    repeat(async () => {
      passed.connections += await connect('--threads', '2');
    }),
    repeat(async () => {
      passed.resets += await connect('--reset', '1');
    }),
    repeat(async () => {
      passed.moves += 1;
      movePod(sites, passed.moves % 2 === 1 ? 'in' : 'out');
      const args = [...dialArguments(directTargets(near).echo), ...window];
      passed.lostInMoves += (await far.run<ConnectResult>('connect', args)).failed;
    }),
  ];
}

/** The pod beside the client's joins the mesh or leaves it. */
function movePod({ far, near }: Readonly<Record<Place, Site>>, to: 'in' | 'out'): void {
  const file = join(far.lab.directory, 'config', 'churn.yaml');
  writeFileSync(file, podManifests(near.server, { enrolled: to === 'in' }));
}

function judged(
  samples: readonly SoakSample[],
  passed: Passed,
  { before, after }: { readonly before: SoakSample; readonly after: SoakSample },
): SoakReport {
  const last = samples.at(-1)?.minutes ?? 0;
  const steady = samples.filter((sample) => sample.minutes > last * warmUpShare);
  const slopes = (of: 'residentBytes' | 'descriptors'): Slope[] =>
    before[of].map((_, side) => slope(steady.map((sample) => [sample.minutes, sample[of][side] ?? 0])));
  const [memory, descriptors] = [slopes('residentBytes'), slopes('descriptors')];
  const atRest = before.descriptors.map((count, side) => [count, after.descriptors[side] ?? 0] as const);
  // The tunnels between the nodes stay open: a few more than before the first connection.
  const leaked = atRest.some(([first, now]) => now > first + 8);
  const verdicts = [judge(memory, toleratedBytes), judge(descriptors, toleratedDescriptors)];
  const verdict = leaked || verdicts.includes('growing') ? 'growing' : (verdicts[0] ?? 'undecided');
  return { samples, passed, memory, descriptors, atRest, verdict };
}

/** The worst of the sides. */
export function judge(growth: readonly Slope[], tolerated: number): SoakVerdict {
  if (growth.some(({ value, standardError }) => value - 2 * standardError > tolerated)) return 'growing';
  const sure = growth.every(({ value, standardError }) => value + 2 * standardError <= tolerated);
  return sure ? 'flat' : 'undecided';
}

/** Lines for the terminal. */
export function describeSoak({ passed, memory, descriptors, atRest, verdict }: SoakReport): string[] {
  const sides = (slopes: readonly Slope[], unit: number, digits: number): string =>
    slopes
      .map(({ value, standardError }) => {
        const [middle, error] = [value / unit, (2 * standardError) / unit];
        return `${middle.toFixed(digits)} ± ${error.toFixed(digits)}`;
      })
      .join(' and ');
  return [
    `Passed: ${passed.gigabytes.toFixed(1)} GB, ${passed.roundTrips} round trips, ${passed.connections} connections, ${passed.resets} that were reset; a pod joined or left ${passed.moves} times, ${passed.lostInMoves} of its connections failed`,
    `Resident memory, MB a minute: ${sides(memory, 1e6, 2)} (client and server side, least squares, twice the standard error)`,
    `Descriptors, a minute: ${sides(descriptors, 1, 2)}; at rest ${atRest.map(([first, now]) => `${first} before, ${now} after`).join(' and ')}`,
    `Verdict: ${verdict}`,
  ];
}

function take(peer: RunningPeer, minutes: number): SoakSample {
  const trees = peer.proxies.map((proxy) => processTree(proxy.identity.pid));
  return { minutes, residentBytes: trees.map(residentBytes), descriptors: trees.map(openDescriptors) };
}

function describeSample({ minutes, residentBytes: bytes, descriptors }: SoakSample): string {
  const memory = bytes.map((value) => `${(value / 1e6).toFixed(1)} MB`).join(', ');
  return `after ${minutes.toFixed(1)} minutes: resident ${memory}; descriptors ${descriptors.join(', ')}`;
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
