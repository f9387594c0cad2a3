// The figures of the table at the end: one pod to another across the link, with the same Node client each time, first
// without the mesh and then with it. It is a demonstration, not a benchmark (that is `npm run bench`): client, server
// and both ztunnels share this machine's cores.

import type { LoadRequest } from '../lab/agent-protocol.ts';
import type { DemoWorld } from './world.ts';

export interface Measurement {
  readonly gigabitsPerSecond: number;
  /** Microseconds. */
  readonly roundTripP50: number;
  /** Microseconds. */
  readonly roundTripP99: number;
  readonly connectionsPerSecond: number;
  /** Requests, connections and streams that failed; any makes the figures doubtful. */
  readonly failed: number;
}

/** Takes about four seconds. */
export async function measure(world: DemoWorld): Promise<Measurement> {
  const { agent } = world.pod('web');
  const host = world.pod('api-2').address.v4;
  const run = (request: Omit<LoadRequest, 'host'>) => agent.call('load', { ...request, host });
  // The first connection of a kind sets up the tunnel and compiles the path.
  await run({ kind: 'connections', port: 8080, concurrency: 2, durationMs: 300 });
  const roundTrips = await run({ kind: 'round-trips', port: 9000, concurrency: 1, durationMs: 1000 });
  const connections = await run({ kind: 'connections', port: 8080, concurrency: 4, durationMs: 1000 });
  const bulk = await run({ kind: 'bulk', port: 9002, concurrency: 1, durationMs: 1500 });
  return {
    gigabitsPerSecond: (bulk.bytes * 8) / bulk.seconds / 1e9,
    roundTripP50: roundTrips.p50,
    roundTripP99: roundTrips.p99,
    connectionsPerSecond: connections.succeeded / connections.seconds,
    failed: roundTrips.failed + connections.failed + bulk.failed,
  };
}

/** The lines of the table. */
export function formatTable(without: Measurement, withMesh: Measurement): string[] {
  const row = (name: string, unit: string, digits: number, pick: (of: Measurement) => number): string => {
    const cells = [pick(without), pick(withMesh)].map((value) =>
      `${formatNumber(value, digits)} ${unit}`.padStart(16),
    );
    const ratio = pick(without) > 0 ? (pick(withMesh) / pick(without)).toFixed(2) : '-';
    return `${name.padEnd(34)}${cells.join('')}${ratio.padStart(9)}`;
  };
  return [
    `${''.padEnd(34)}${'without mesh'.padStart(16)}${'with mesh'.padStart(16)}${'ratio'.padStart(9)}`,
    row('throughput, one stream', 'Gbit/s', 1, (of) => of.gigabitsPerSecond),
    row('round trip of 64 bytes, median', 'µs', 0, (of) => of.roundTripP50),
    row('round trip of 64 bytes, 99 %', 'µs', 0, (of) => of.roundTripP99),
    row('HTTP requests, each a connection', '/s', 0, (of) => of.connectionsPerSecond),
  ];
}

function formatNumber(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
