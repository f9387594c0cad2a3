// Runs a load program in the client pod and reads what it found: wrk for HTTP/1.1, h2load for HTTP/2. The proxy's
// CPU time is read around the window, which says more than requests a second where three programs share two cores.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { BenchError } from '../bench-error.ts';
import { processTree } from '../process-usage.ts';
import type { HttpSite } from './http-site.ts';

export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of the proxy, for each request, µs. */
  readonly cpuUs: number;
}

/** Where the load comes from. */
export type LoadSite = Pick<HttpSite, 'lab' | 'client'>;

export interface LoadOptions {
  readonly url: string;
  readonly seconds: number;
  readonly connections: number;
  /** HTTP/2 streams at once on each connection; absent for HTTP/1.1. */
  readonly streams?: number;
  /** A file to send in each request; HTTP/2 only. */
  readonly body?: string;
  readonly headers?: readonly string[];
}

const ticksPerSecond = 100;
let sequence = 0;

/** Throws BenchError `load` when a request failed or nothing was measured. */
export async function runLoad(site: LoadSite, proxy: LabProcess, options: LoadOptions): Promise<LoadResult> {
  const pids = processTree(proxy.child.pid as number);
  const before = cpuSeconds(pids);
  const result = options.streams === undefined ? await wrk(site, options) : await h2load(site, options);
  const cpu = cpuSeconds(pids) - before;
  return { ...result.figures, cpuUs: (cpu * 1e6) / result.requests };
}

interface Outcome {
  readonly requests: number;
  readonly figures: Omit<LoadResult, 'cpuUs'>;
}

async function wrk(
  site: LoadSite,
  { url, seconds, connections, headers = [] }: LoadOptions,
): Promise<Outcome> {
  const flags = headers.flatMap((header) => ['-H', header]);
  const argv = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...flags, url];
  const text = await finish(site, argv);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(text) ?? /Socket errors: (.*)/.exec(text);
  if (bad !== null) throw new BenchError('load', `Requests failed: ${bad[0]}`);
  const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]);
  if (!(requests > 0)) throw new BenchError('load', `wrk measured nothing: ${text.slice(-300)}`);
  const figures = { requestsPerSecond: rate, p50Us: percentile(text, '50%'), p99Us: percentile(text, '99%') };
  return { requests, figures };
}

function percentile(text: string, name: string): number {
  const found = new RegExp(`${name}\\s+([\\d.]+)(us|ms|s)`).exec(text);
  const factor = { us: 1, ms: 1e3, s: 1e6 }[(found?.[2] ?? 's') as 'us' | 'ms' | 's'];
  return Number(found?.[1]) * factor;
}

async function h2load(site: LoadSite, options: LoadOptions): Promise<Outcome> {
  const { url, seconds, connections, streams = 1, body, headers = [] } = options;
  const log = join(site.lab.directory, `h2load-${(sequence += 1)}.log`);
  const flags = [...headers.flatMap((header) => ['-H', header]), ...(body === undefined ? [] : ['-d', body])];
  const argv = [
    'h2load',
    '-t1',
    `-c${connections}`,
    `-m${streams}`,
    `-D${seconds}`,
    `--log-file=${log}`,
    ...flags,
    url,
  ];
  const text = await finish(site, argv);
  const counts = /requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed/.exec(text);
  const [done, failed] = [Number(counts?.[2]), Number(counts?.[4])];
  if (!(done > 0) || failed > 0)
    throw new BenchError('load', `Requests failed: ${counts?.[0] ?? text.slice(-300)}`);
  const times = readFileSync(log, 'latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.split('\t')[2]))
    .toSorted((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  const figures = { requestsPerSecond: done / seconds, p50Us: at(0.5), p99Us: at(0.99) };
  return { requests: done, figures };
}

async function finish(site: LoadSite, argv: readonly string[]): Promise<string> {
  const tool = site.lab.spawn(site.client, { name: `load-${(sequence += 1)}`, argv });
  if (!tool.ended.aborted)
    await new Promise((resolve) => tool.ended.addEventListener('abort', resolve, { once: true }));
  if (tool.child.exitCode !== 0)
    throw new BenchError('load', `"${argv[0]}" failed: ${tool.log.text().slice(-300)}`);
  return tool.log.text();
}

function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}
