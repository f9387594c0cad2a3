// The measurements, one function each: load in the client pod against a running peer, figures out. All bytes are 8-bit,
// GB and MB are powers of ten; CPU is user and system time of both sides' proxies together.

import { setTimeout as delay } from 'node:timers/promises';
import type { LabProcess } from '../e2e/lab/lab-process.ts';
import { BenchError } from './bench-error.ts';
import type { Figures } from './metrics.ts';
import type { RunningPeer, Target } from './peers/peer.ts';
import { median } from './median.ts';
import { processTree, residentBytes } from './process-usage.ts';
import { lastLine, type Site } from './site.ts';

export const measurementNames = ['bulk', 'rtt', 'connections', 'memory'] as const;
export type MeasurementName = (typeof measurementNames)[number];

export interface Effort {
  /** Length of each measured window. */
  readonly seconds: number;
  /** Load before each window that is not counted. */
  readonly rampSeconds: number;
  readonly idleConnections: number;
  /** See Peer; the caller takes it from there. */
  readonly settleMs?: number;
}

const roundTripWindows = 3;
/** Of the length of the other windows: there are three of them. */
const roundTripShare = 2 / 3;

export interface Subject {
  readonly site: Site;
  readonly peer: RunningPeer;
  readonly effort: Effort;
}

export const measurements: Readonly<Record<MeasurementName, (subject: Subject) => Promise<Figures>>> = {
  bulk: measureBulk,
  rtt: measureRoundTrip,
  connections: measureConnections,
  memory: measureMemory,
};

interface BulkResult {
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

interface RoundTripResult {
  readonly count: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly cpuSeconds: number;
}

export interface ConnectResult {
  readonly count: number;
  readonly failed: number;
  /** The last failure's reason. */
  readonly error: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** The arguments that say where to dial and whose CPU time to read. */
export function loadArguments(target: Target, peer: RunningPeer): string[] {
  const pids = peer.proxies.flatMap((proxy) => processTree(proxy.identity.pid));
  return [...dialArguments(target), '--pids', pids.join(',')];
}

export function dialArguments({ host, port }: Target): string[] {
  return ['--host', host, '--port', `${port}`];
}

function windowArguments({ seconds, rampSeconds }: Effort): string[] {
  return ['--seconds', `${seconds}`, '--ramp', `${rampSeconds}`];
}

/** Throws BenchError `load` when connections failed: figures of a run with failures mean nothing. */
export function refuseFailures(result: ConnectResult): void {
  if (result.failed === 0 && result.count > 0) return;
  const total = result.failed + result.count;
  throw new BenchError('load', `${result.failed} of ${total} connections failed: ${result.error}`);
}

async function measureBulk(subject: Subject): Promise<Figures> {
  const one = await bulk(subject, 1);
  const eight = await bulk(subject, 8);
  return { bulk1: one.rate, bulk1Cpu: one.cpu, bulk8: eight.rate, bulk8Cpu: eight.cpu };
}

async function bulk(
  { site, peer, effort }: Subject,
  streams: number,
): Promise<{ rate: number; cpu: number }> {
  const result = await site.run<BulkResult>('bulk', [
    ...loadArguments(peer.targets.sink, peer),
    ...windowArguments(effort),
    ...['--streams', `${streams}`, '--counter', site.counterFile],
  ]);
  if (result.bytes === 0) throw new BenchError('load', `No byte of ${streams} bulk streams arrived`);
  return {
    rate: (result.bytes * 8) / result.seconds / 1e9,
    cpu: result.cpuSeconds / (result.bytes / 1e9),
  };
}

/** The median of several windows: one moment in which something else ran must not make the tail. */
async function measureRoundTrip({ site, peer, effort }: Subject): Promise<Figures> {
  const window = { ...effort, seconds: effort.seconds * roundTripShare };
  const args = [...loadArguments(peer.targets.echo, peer), ...windowArguments(window)];
  const windows: RoundTripResult[] = [];
  for (let i = 0; i < roundTripWindows; i++)
    windows.push(await site.run<RoundTripResult>('round-trip', args));
  const middle = (of: (result: RoundTripResult) => number): number => median(windows.map(of)) ?? 0;
  return {
    rttP50: middle((result) => result.p50),
    rttP99: middle((result) => result.p99),
    rttP999: middle((result) => result.p999),
    rttCpu: middle((result) => (result.cpuSeconds / result.count) * 1e6),
  };
}

async function measureConnections(subject: Subject): Promise<Figures> {
  const { echo, fork } = subject.peer.targets;
  const one = await connect(subject, echo, 1);
  const eight = await connect(subject, echo, 8);
  const forking = await connect(subject, fork, 1);
  return {
    connections: one.rate,
    connectionCpu: one.cpu,
    connections8: eight.rate,
    connection8Cpu: eight.cpu,
    connectionsFork: forking.rate,
  };
}

async function connect(
  { site, peer, effort }: Subject,
  target: Target,
  clients: number,
): Promise<{ rate: number; cpu: number }> {
  const result = await site.run<ConnectResult>('connect', [
    ...loadArguments(target, peer),
    ...windowArguments(effort),
    ...['--threads', `${clients}`],
  ]);
  refuseFailures(result);
  return { rate: result.count / result.seconds, cpu: (result.cpuSeconds / result.count) * 1e6 };
}

/** Of the larger side. Wants a peer that has served nothing yet. */
async function measureMemory({ site, peer, effort }: Subject): Promise<Figures> {
  if (peer.proxies.length === 0) return {};
  await delay(effort.settleMs ?? 0);
  const before = peer.proxies.map(resident);
  const holder = site.start('hold', [
    ...dialArguments(peer.targets.echo),
    '--count',
    `${effort.idleConnections}`,
  ]);
  await holder.waitForLine(/"held"/, { timeoutMs: 120_000 });
  const held = peer.proxies.map(resident);
  await endHolder(holder, effort.idleConnections);
  const growth = held.map((bytes, side) => bytes - (before[side] ?? 0));
  return {
    idleMemory: largest(before) / 1e6,
    heldMemory: largest(held) / 1e6,
    memoryPerConnection: largest(growth) / effort.idleConnections / 1e3,
  };
}

async function endHolder(holder: LabProcess, count: number): Promise<void> {
  holder.child.kill('SIGTERM');
  const { alive } = await lastLine<{ readonly alive: number }>(holder);
  if (alive !== count)
    throw new BenchError('load', `Of ${count} idle connections only ${alive} still worked`);
}

function resident(proxy: LabProcess): number {
  return residentBytes(processTree(proxy.identity.pid));
}

function largest(values: readonly number[]): number {
  return Math.max(...values);
}
