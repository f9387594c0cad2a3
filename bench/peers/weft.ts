// Weft itself, bundled as in the image and started as a user would: one controller over a directory of manifests, one
// ztunnel a node. Access log for failures only, since the other pairs write none; same-node connections by the kernel; else
// the defaults.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nodeFlags } from '../../cli/program-files.ts';
import { command } from '../../e2e/lab/command.ts';
import type { LabHost } from '../../e2e/lab/lab.ts';
import type { LabProcess } from '../../e2e/lab/lab-process.ts';
import { BenchError } from '../bench-error.ts';
import type { Place, Site } from '../site.ts';
import { bundledPrograms, sourcePrograms, type WeftPrograms } from '../weft-programs.ts';
import {
  directTargets,
  type Peer,
  type PeerName,
  type RunningPeer,
  stopAll,
  withManyDescriptors,
} from './peer.ts';
import { weftManifests } from './weft-manifests.ts';

const controllerPort = 15012;
const metricsPort = 15020;
const readinessPort = 15021;
const readyWithinMs = 30_000;

export interface WeftOptions {
  readonly workers: number;
  /** Flags of node itself for the ztunnels, such as `--cpu-prof`. */
  readonly nodeFlags: readonly string[];
  /** The sources in place of the bundle. */
  readonly sources: boolean;
}

/** The ztunnel releases what only its start needed five seconds after it. */
const settleMs = 8_000;

export function weft(
  options: WeftOptions,
  { name = 'weft', place = 'far' }: { readonly name?: PeerName; readonly place?: Place } = {},
): Peer {
  const workers = options.workers === 1 ? '' : `, ${options.workers} workers`;
  return {
    name,
    title: `Weft${workers}${place === 'far' ? '' : ', one node'}`,
    place,
    descriptorsPerConnection: 1,
    settleMs,
    start: async (site) =>
      startWeft(site, { ...options, programs: options.sources ? sourcePrograms : await bundledPrograms() }),
  };
}

async function startWeft(site: Site, options: StartOptions): Promise<RunningPeer> {
  const config = join(site.lab.directory, 'config');
  const state = join(site.lab.directory, 'state');
  rmSync(state, { recursive: true, force: true });
  mkdirSync(config, { recursive: true });
  mkdirSync(state, { recursive: true, mode: 0o700 });
  writeFileSync(join(config, 'bench.yaml'), weftManifests(site));
  const address = `${site.lab.control.address.v4}:${controllerPort}`;
  const argv = ['--config', config, '--state', state, '--address', address];
  const controller = site.lab.spawn(site.lab.control, {
    name: 'weft-controller',
    argv: [process.execPath, options.programs.controller, ...argv],
  });
  const from = controller.log.mark();
  const started: LabProcess[] = [controller];
  try {
    await controller.waitForLine(/controller (is )?ready/i, { from, timeoutMs: readyWithinMs });
    const settings = { address, state, options };
    // The server's side first: the client's would otherwise meet a node that does not answer yet.
    const nodes = [...new Set([site.serverNode, site.clientNode])];
    const ztunnels = nodes.map((node) => startZtunnel(site, node, settings));
    started.push(...ztunnels);
    await Promise.all(ztunnels.map((ztunnel, i) => untilReady(nodes[i] as LabHost, ztunnel)));
    return {
      targets: directTargets(site),
      proxies: ztunnels.toReversed(),
      check: () => {
        checkTunnelled(site.serverNode);
        if (site.serverNode === site.clientNode) checkKernelPath(site.serverNode);
        return Promise.resolve();
      },
      stop: () => stopAll(started),
    };
  } catch (error) {
    await stopAll(started);
    throw error;
  }
}

interface StartOptions extends WeftOptions {
  readonly programs: WeftPrograms;
}

interface ZtunnelSettings {
  readonly address: string;
  readonly state: string;
  readonly options: StartOptions;
}

function startZtunnel(site: Site, node: LabHost, { address, state, options }: ZtunnelSettings): LabProcess {
  const token = join(site.lab.directory, `${node.name}.token`);
  const create = ['token', 'create', '--node', node.name, '--state', state];
  writeFileSync(token, command([process.execPath, options.programs.cli, ...create]), { mode: 0o600 });
  const argv = ['--node', node.name, '--controller', address, '--token-file', token];
  argv.push(
    '--root-cert',
    join(state, 'root-cert.pem'),
    '--pin-dir',
    'none',
    '--state-dir',
    'none',
    '--workers',
    `${options.workers}`,
  );
  const flags = [...nodeFlags.ztunnel, ...options.nodeFlags];
  const program = [process.execPath, ...flags, options.programs.ztunnel, ...argv];
  return site.lab.spawn(node, { name: `weft-${node.name}`, argv: [...withManyDescriptors, ...program] });
}

async function untilReady(node: LabHost, ztunnel: LabProcess): Promise<void> {
  const deadline = performance.now() + readyWithinMs;
  let answer = 'nothing';
  while (performance.now() < deadline) {
    if (ztunnel.ended.aborted) throw ztunnel.ended.reason;
    try {
      answer = get(node, readinessPort, '/healthz/ready');
      if (answer.startsWith('HTTP/1.1 200')) return;
    } catch (error) {
      answer = (error as Error).message;
    }
    await delay(100);
  }
  throw new BenchError(
    'peer',
    `The ztunnel of ${node.name} was not ready after ${readyWithinMs} ms: ${answer}`,
  );
}

/** What passed must have come through mutual TLS: a pod that is not captured would show the speed of no mesh. */
function checkTunnelled(node: LabHost): void {
  const opened = get(node, metricsPort, '/metrics')
    .split('\n')
    .filter((line) => line.startsWith('istio_tcp_connections_opened_total{'));
  const tunnelled = opened.some(
    (line) =>
      line.includes('reporter="destination"') && line.includes('connection_security_policy="mutual_tls"'),
  );
  const plain = opened.some((line) => !line.includes('connection_security_policy="mutual_tls"'));
  if (tunnelled && !plain) return;
  throw new BenchError('peer', `Not all connections came through mutual TLS, see:\n${opened.join('\n')}`);
}

/** Between pods of one node the kernel's path is measured: there must be a verdict for it. */
function checkKernelPath(node: LabHost): void {
  const verdicts = /^weft_same_node_verdicts (\d+)$/m.exec(get(node, metricsPort, '/metrics'))?.[1];
  if (Number(verdicts ?? 0) > 0) return;
  throw new BenchError('peer', 'The kernel took no connection past the proxy: this kernel has no such path');
}

/** One HTTP GET from inside a node's namespace; the whole answer. */
function get(node: LabHost, port: number, path: string): string {
  const script = `
    const socket = require('node:net').connect(${port}, '127.0.0.1', () => socket.write('GET ${path} HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n'));
    socket.setTimeout(5000, () => socket.destroy(new Error('timeout')));
    socket.on('error', (error) => { console.error(error.message); process.exit(1); });
    socket.pipe(process.stdout);`;
  return command(['nsenter', `--net=${node.netnsPath}`, process.execPath, '-e', script]);
}
