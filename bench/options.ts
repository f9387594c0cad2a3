// The benchmark's command line.

import { parseArgs } from 'node:util';
import { BenchError } from './bench-error.ts';
import { type Effort, type MeasurementName, measurementNames } from './measurements.ts';
import { type PeerName, peerNames } from './peers/peer.ts';
import type { WeftOptions } from './peers/weft.ts';

export interface BenchOptions {
  readonly help: boolean;
  readonly clean: boolean;
  /** Minutes; undefined without a soak. */
  readonly soak: number | undefined;
  readonly rounds: number;
  readonly only: readonly MeasurementName[];
  readonly peers: readonly PeerName[];
  readonly effort: Effort;
  /** Where the results go; undefined for bench/results/DATE.json, empty for nowhere. */
  readonly json: string | undefined;
  readonly compare: string | undefined;
  readonly writeDocs: boolean;
  readonly weft: WeftOptions;
}

export const usage = `Usage: npm run bench [-- OPTIONS]

Measures no mesh, an nginx and an HAProxy mutual TLS pair and Weft side by side, in network namespaces made for it; and
Weft with two workers (weft-2), and no mesh and Weft between two pods of one node (none-near, weft-near). Needs root, six
minutes and a machine that does nothing else.

  --quick            one round of 1 s a measurement, and 2,000 idle connections
  --rounds N         rounds, each of all peers in turn (default 3)
  --seconds N        length of each measured window (default 1.2); round trips take three of two thirds
  --idle N           connections held for the memory figures, as far as descriptors allow (default 10,000)
  --only LIST        of ${measurementNames.join(', ')}
  --peers LIST       of ${peerNames.join(', ')}
  --json FILE        where the results go (default bench/results/DATE.json; partial runs write none)
  --compare FILE     afterwards say what moved by more than the noise since that results file
  --write-docs       rewrite the table of docs/PERFORMANCE.md
  --soak MINUTES     Weft only: mixed traffic and churn, memory and descriptors must stay flat; prints their slopes
  --workers N        data workers a ztunnel (default 1)
  --sources          run the sources in place of the bundle of the image
  --node-flags LIST  flags of node for the ztunnels, separated by commas, such as --cpu-prof
  --clean            remove what a crashed run left, and end
  --help             this text

Examples:
  npm run bench -- --quick
  npm run bench -- --peers nginx,weft --only bulk,rtt --compare bench/results/2026-01-31.json
`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;

/** Throws BenchError `usage`, or node's own error, when the arguments make no sense. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...argv],
    strict: true,
    options: {
      help: { ...flag, short: 'h' },
      clean: flag,
      soak: text,
      sources: flag,
      quick: flag,
      rounds: text,
      seconds: text,
      idle: text,
      only: text,
      peers: text,
      json: text,
      compare: text,
      'write-docs': flag,
      workers: text,
      'node-flags': text,
    },
  });
  const { quick } = values;
  const partial = quick || values.only !== undefined || values.peers !== undefined;
  return {
    help: values.help,
    clean: values.clean,
    soak: values.soak === undefined ? undefined : wholeNumber('soak', values.soak, 1),
    rounds: wholeNumber('rounds', values.rounds, quick ? 1 : 3),
    only: list('only', values.only, measurementNames),
    peers: list('peers', values.peers, peerNames),
    effort: {
      seconds: seconds(values.seconds, quick ? 1 : 1.2),
      rampSeconds: 0.3,
      idleConnections: wholeNumber('idle', values.idle, quick ? 2000 : 10_000),
    },
    json: values.json ?? (partial ? '' : undefined),
    compare: values.compare,
    writeDocs: values['write-docs'],
    weft: {
      workers: wholeNumber('workers', values.workers, 1),
      nodeFlags: (values['node-flags'] ?? '').split(',').filter((entry) => entry !== ''),
      sources: values.sources,
    },
  };
}

function wholeNumber(name: string, given: string | undefined, fallback: number): number {
  if (given === undefined) return fallback;
  if (/^[1-9][0-9]{0,5}$/.test(given)) return Number(given);
  throw new BenchError('usage', `Option --${name} takes a whole number from 1 to 999999, got "${given}"`);
}

function seconds(given: string | undefined, fallback: number): number {
  if (given === undefined) return fallback;
  if (/^[0-9]{1,3}(\.[0-9])?$/.test(given) && Number(given) > 0) return Number(given);
  throw new BenchError('usage', `Option --seconds takes seconds from 0.1 to 999.9, got "${given}"`);
}

/** In the order of `known`. */
function list<T extends string>(name: string, given: string | undefined, known: readonly T[]): readonly T[] {
  if (given === undefined) return known;
  const wanted = given.split(',');
  const wrong = wanted.find((entry) => !known.some((one) => one === entry));
  if (wrong === undefined) return known.filter((one) => wanted.includes(one));
  throw new BenchError('usage', `Option --${name} takes ${known.join(', ')}, got "${wrong}"`);
}
