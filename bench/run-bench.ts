// The course of a benchmark: the site once, then rounds in which every peer is started, warmed up, measured and
// stopped in turn. Whatever happens, the lab is closed before this returns.

import { Lab } from '../e2e/lab/lab.ts';
import type { LabProcess } from '../e2e/lab/lab-process.ts';
import { BenchError } from './bench-error.ts';
import { describeMachine } from './machine.ts';
import {
  dialArguments,
  type Effort,
  type MeasurementName,
  measurementNames,
  measurements,
} from './measurements.ts';
import type { Figures } from './metrics.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx } from './peers/nginx.ts';
import { noMesh, noMeshNear } from './peers/no-mesh.ts';
import { descriptorLimit, type Peer, type PeerName, type RunningPeer } from './peers/peer.ts';
import { type WeftOptions, weft } from './peers/weft.ts';
import type { Results, Round } from './results.ts';
import { buildSite, lastLine, type Place, type Site } from './site.ts';
import { type SoakReport, soak } from './soak.ts';

export const labName = 'bench';
/** What a proxy needs besides connections: listeners, libraries, logs. */
const spareDescriptors = 300;

export interface RunOptions {
  readonly peers: readonly PeerName[];
  readonly only: readonly MeasurementName[];
  readonly rounds: number;
  readonly effort: Effort;
  readonly weft: WeftOptions;
  readonly print: (line: string) => void;
}

/** Takes everything; the results hold whatever was asked for. */
export async function runBench(options: RunOptions): Promise<Results> {
  const peers = options.peers.map((name) => peerNamed(name, options.weft));
  const titles = Object.fromEntries(peers.map(({ name, title }) => [name, title]));
  const results = { date: new Date().toISOString(), machine: describeMachine(), effort: options.effort };
  const rounds = await withSites(async (sites) => {
    const done: Round[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const figures: Round = {};
      for (const peer of peers) {
        options.print(`round ${round} of ${options.rounds}: ${peer.title}`);
        figures[peer.name] = await measurePeer(sites[peer.place], peer, { ...options, round });
      }
      done.push(figures);
    }
    return done;
  });
  return { ...results, peers: titles, rounds };
}

export function runSoak(
  options: Pick<RunOptions, 'weft' | 'print'> & { readonly minutes: number },
): Promise<SoakReport> {
  return withSites(async (sites) => {
    const running = await startPeer(sites.far, weft(options.weft));
    try {
      const report = await soak(sites, running, options);
      await running.check();
      return report;
    } finally {
      await running.stop();
    }
  });
}

async function withSites<T>(use: (sites: Readonly<Record<Place, Site>>) => Promise<T>): Promise<T> {
  const lab = Lab.open(labName);
  let keepFiles = true;
  try {
    const result = await use(await buildSite(lab));
    keepFiles = false;
    return result;
  } finally {
    await lab.close({ keepFiles });
  }
}

/** Memory is taken from a peer of its own, which has served nothing yet, and once a run: it hardly differs, and takes long. */
async function measurePeer(
  site: Site,
  peer: Peer,
  { only, effort, round }: RunOptions & { readonly round: number },
): Promise<Figures> {
  const figures: Figures = {};
  const measure = async (names: readonly MeasurementName[], warm: boolean): Promise<void> => {
    if (names.length === 0) return;
    const running = await startPeer(site, peer);
    try {
      const subject = { site, peer: running, effort: boundedEffort(peer, effort) };
      if (warm) await warmUp(site, running);
      for (const name of names) Object.assign(figures, await measurements[name](subject));
      await running.check();
    } finally {
      await running.stop();
    }
  };
  const wanted = measurementNames.filter((name) => only.includes(name));
  if (round === 1 && peer.settleMs > 0 && peer.place === 'far')
    await measure(
      wanted.filter((name) => name === 'memory'),
      false,
    );
  await measure(
    wanted.filter((name) => name !== 'memory'),
    true,
  );
  return figures;
}

/** As many idle connections as the machine's limit on descriptors allows this peer. */
function boundedEffort(peer: Peer, effort: Effort): Effort {
  const most = Math.floor((descriptorLimit() - spareDescriptors) / peer.descriptorsPerConnection);
  return { ...effort, idleConnections: Math.min(effort.idleConnections, most), settleMs: peer.settleMs };
}

/** Starts the peer and awaits the first connection through it. */
async function startPeer(site: Site, peer: Peer): Promise<RunningPeer> {
  const running = await peer.start(site);
  const probe = site.start('connect', [...dialArguments(running.targets.echo), '--wait', '20']);
  try {
    const ended = running.proxies.map((proxy) => rejectAtEnd(proxy, probe));
    await Promise.race([lastLine(probe), ...ended]);
    return running;
  } catch (error) {
    await running.stop();
    throw new BenchError('peer', `No connection came through ${peer.title}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Rejects when the proxy ends while the probe is still trying. */
function rejectAtEnd(proxy: LabProcess, probe: LabProcess): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(proxy.ended.reason as Error);
    if (proxy.ended.aborted) fail();
    proxy.ended.addEventListener('abort', fail, { signal: probe.ended });
  });
}

/** A little of every kind of load, so that code is compiled and pools are filled; the same for every proxy. */
async function warmUp(site: Site, { targets, proxies }: RunningPeer): Promise<void> {
  if (proxies.length === 0) return;
  await site.run('connect', [...dialArguments(targets.echo), '--seconds', '2', '--threads', '2']);
  await site.run('round-trip', [...dialArguments(targets.echo), '--seconds', '0.5', '--ramp', '0']);
  const window = ['--seconds', '1', '--ramp', '0', '--streams', '2', '--counter', site.counterFile];
  await site.run('bulk', [...dialArguments(targets.sink), ...window]);
}

function peerNamed(name: PeerName, options: WeftOptions): Peer {
  switch (name) {
    case 'none':
      return noMesh;
    case 'nginx':
      return nginx;
    case 'haproxy':
      return haproxy;
    case 'weft':
      return weft(options);
    case 'weft-2':
      return weft({ ...options, workers: 2 }, { name: 'weft-2' });
    case 'none-near':
      return noMeshNear;
    case 'weft-near':
      return weft(options, { name: 'weft-near', place: 'near' });
  }
}
