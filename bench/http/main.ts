// `npm run bench -- http`: HTTP proxies side by side, each with one worker, in rounds. Prints a table of medians and, asked
// to, writes it into docs/PERFORMANCE.md. Exit status 1 when a request failed or a peer did not start.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeFileSync } from 'node:fs';
import { command } from '../../e2e/lab/command.ts';
import { Lab } from '../../e2e/lab/lab.ts';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { BenchError } from '../bench-error.ts';
import { median } from '../median.ts';
import { processTree, residentBytes } from '../process-usage.ts';
import { describeMachine } from '../machine.ts';
import { textTable, writeHttpTable } from '../table.ts';
import { findEnvoy } from './envoy-program.ts';
import { buildHttpSite, type HttpSite, proxyPorts } from './http-site.ts';
import { runLoad } from './load.ts';
import { measureMeshPath } from './mesh-path.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import type { HttpPeer } from './peers/http-peer.ts';
import { nginx } from './peers/nginx.ts';
import { weft } from './peers/weft.ts';

const labName = 'l7bench';
const docs = join(import.meta.dirname, '../../docs/PERFORMANCE.md');
const usage = `Usage: npm run bench -- http [OPTIONS]

Measures nginx, HAProxy, Envoy and a Weft waypoint as HTTP proxies with one worker and the same routes.

  --rounds N         rounds, each of all peers in turn (default 3)
  --seconds N        length of each measured window (default 4)
  --peers LIST       of envoy, nginx, haproxy, weft
  --node-flags LIST  flags of node for the waypoint, separated by commas, such as --cpu-prof
  --write-docs       rewrite the table of docs/PERFORMANCE.md
`;

type Row =
  | 'get'
  | 'get-p99'
  | 'get-cpu'
  | 'routes'
  | 'large'
  | 'large-cpu'
  | 'h2'
  | 'h2-cpu'
  | 'post'
  | 'post-cpu'
  | 'tls-cpu'
  | 'memory';
const titles: Readonly<Record<Row, string>> = {
  get: 'HTTP/1.1 GET, 32 connections: requests/s',
  'get-p99': 'p99, µs',
  'get-cpu': 'CPU of the proxy for each request, µs',
  routes: 'the same behind 1,000 other routes: requests/s',
  large: '1 MB bodies, 8 connections: requests/s',
  'large-cpu': 'CPU for each of them, µs',
  h2: 'HTTP/2 GET, 8 connections of 8 streams: requests/s',
  'h2-cpu': 'CPU for each of them, µs',
  post: 'HTTP/2 POST of 100 bytes, as unary gRPC: requests/s',
  'post-cpu': 'CPU for each of them, µs',
  'tls-cpu': 'TLS on both sides: CPU of the proxy for each request, µs',
  memory: 'resident memory before the first request, MB',
};
type Figures = Partial<Record<Row, number>>;

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly peers: readonly HttpPeer[];
}

export async function runHttpBench(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: 'boolean', short: 'h' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      peers: { type: 'string' },
      'node-flags': { type: 'string', default: '' },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const wanted = values.peers?.split(',');
  const envoyProgram =
    wanted?.includes('envoy') === false ? undefined : findEnvoy((line) => console.error(line));
  const all = [
    nginx,
    haproxy,
    ...(envoyProgram ? [envoy(envoyProgram)] : []),
    weft(values['node-flags'].split(',').filter(Boolean)),
  ];
  const peers = all.filter(({ name }) => wanted?.includes(name) ?? true);
  const rows = await measureAll({ peers, seconds: Number(values.seconds), rounds: Number(values.rounds) });
  console.log(textTable(rows));
  if (values['write-docs']) writeHttpTable(docs, rows, note(values.rounds, values.seconds, envoyProgram));
  return 0;
}

function note(rounds: string, seconds: string, envoyProgram: string | undefined): string {
  const {
    cpu,
    cores,
    kernel,
    node,
    nginx: nginxVersion,
    haproxy: haproxyVersion,
    commit,
  } = describeMachine();
  const date = new Date().toISOString().slice(0, 10);
  const programs = [`Node ${node}`, `nginx ${nginxVersion}`, `HAProxy ${haproxyVersion}`];
  if (envoyProgram !== undefined)
    programs.push(`Envoy ${/\d+\.\d+\.\d+/.exec(command([envoyProgram, '--version']))?.[0]}`);
  return (
    `Taken ${date} at commit ${commit}: median of ${rounds} rounds of ${seconds} s windows, one worker each, client, proxy and ` +
    `servers together on ${cores} cores of ${cpu}, Linux ${kernel}, ${programs.join(', ')}.`
  );
}

async function measureAll(options: Options): Promise<string[][]> {
  const lab = Lab.open(labName);
  const rounds: Record<string, Figures>[] = [];
  try {
    const site = await buildHttpSite(lab);
    for (let round = 1; round <= options.rounds; round++) {
      const figures: Record<string, Figures> = {};
      for (const peer of options.peers) {
        console.error(`round ${round} of ${options.rounds}: ${peer.title}`);
        const measured = await measurePeer(site, peer, options.seconds);
        if (peer.name === 'weft') measured['tls-cpu'] = (await measureMeshPath(options.seconds)).cpuUs;
        figures[peer.name] = measured;
      }
      rounds.push(figures);
    }
  } finally {
    await lab.close();
  }
  return table(options.peers, rounds);
}

async function measurePeer(site: HttpSite, peer: HttpPeer, seconds: number): Promise<Figures> {
  const figures: Figures = {};
  const base = (port: number): string => `http://${site.proxy.address.v4}:${port}`;
  const h1 = base(proxyPorts.http1);
  await withPeer(site, peer, 10, async (proxy) => {
    figures.memory = residentBytes(processTree(proxy.child.pid as number)) / 1e6;
    await runLoad(site, proxy, { url: `${h1}/`, seconds: 2, connections: 32 });
    const get = await runLoad(site, proxy, { url: `${h1}/`, seconds, connections: 32 });
    Object.assign(figures, { get: get.requestsPerSecond, 'get-p99': get.p99Us, 'get-cpu': get.cpuUs });
    const large = await runLoad(site, proxy, { url: `${h1}/large`, seconds, connections: 8 });
    Object.assign(figures, { large: large.requestsPerSecond, 'large-cpu': large.cpuUs });
    if (peer.name === 'envoy') {
      const url = `https://${site.proxy.address.v4}:${proxyPorts.tls}/`;
      await runLoad(site, proxy, { url, seconds: 2, connections: 32 });
      figures['tls-cpu'] = (await runLoad(site, proxy, { url, seconds, connections: 32 })).cpuUs;
    }
    if (peer.name === 'nginx') return;
    const h2 = { url: `${base(proxyPorts.http2)}/`, connections: 8, streams: 8 };
    await runLoad(site, proxy, { ...h2, seconds: 1 });
    const got = await runLoad(site, proxy, { ...h2, seconds });
    const body = join(site.lab.directory, 'message');
    writeFileSync(body, Buffer.alloc(100, 'm'));
    const headers = ['content-type: application/grpc', 'te: trailers'];
    const posted = await runLoad(site, proxy, { ...h2, seconds, body, headers });
    Object.assign(figures, { h2: got.requestsPerSecond, 'h2-cpu': got.cpuUs });
    Object.assign(figures, { post: posted.requestsPerSecond, 'post-cpu': posted.cpuUs });
  });
  await withPeer(site, peer, 1000, async (proxy) => {
    await runLoad(site, proxy, { url: `${h1}/`, seconds: 2, connections: 32 });
    figures.routes = (
      await runLoad(site, proxy, { url: `${h1}/`, seconds, connections: 32 })
    ).requestsPerSecond;
  });
  return figures;
}

async function withPeer(
  site: HttpSite,
  peer: HttpPeer,
  routes: number,
  use: (proxy: LabProcess) => Promise<void>,
): Promise<void> {
  const proxy = peer.start(site, { routes });
  try {
    await awaitListening(site, proxy);
    await use(proxy);
  } finally {
    await proxy.stop('SIGTERM', 3000);
  }
}

/** Until the proxy answers; curl tries again by itself. */
async function awaitListening(site: HttpSite, proxy: LabProcess): Promise<void> {
  const url = `http://${site.proxy.address.v4}:${proxyPorts.http1}/`;
  const argv = [
    'curl',
    '-sf',
    '-o',
    '/dev/null',
    '--retry',
    '50',
    '--retry-connrefused',
    '--retry-delay',
    '1',
    '--retry-max-time',
    '30',
    url,
  ];
  const probe = site.lab.spawn(site.client, { name: 'probe', argv });
  if (!probe.ended.aborted)
    await new Promise((resolve) => probe.ended.addEventListener('abort', resolve, { once: true }));
  if (probe.child.exitCode !== 0)
    throw new BenchError('peer', `"${proxy.name}" does not answer: ${proxy.log.text().slice(-500)}`);
}

function table(peers: readonly HttpPeer[], rounds: readonly Record<string, Figures>[]): string[][] {
  const value = (peer: string, row: Row): number | undefined => {
    const found = rounds.map((round) => round[peer]?.[row]).filter((figure) => figure !== undefined);
    return found.length === 0 ? undefined : median(found);
  };
  const text = (figure: number | undefined): string =>
    figure === undefined ? '–' : Math.round(figure).toLocaleString('en-US');
  const ratio = (row: Row, base: string): string => {
    const [own, other] = [value('weft', row), value(base, row)];
    return own === undefined || other === undefined ? '–' : (own / other).toFixed(2);
  };
  const bases = ['envoy', 'nginx'].filter((base) => peers.some(({ name }) => name === base));
  const head = [
    '',
    ...peers.map(({ title }) => title),
    ...bases.map((base) => `Weft / ${base === 'envoy' ? 'Envoy' : base}`),
  ];
  const rows = (Object.keys(titles) as Row[]).map((row) => [
    titles[row],
    ...peers.map(({ name }) => text(value(name, row))),
    ...bases.map((base) => ratio(row, base)),
  ]);
  return [head, ...rows];
}
