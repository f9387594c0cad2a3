// How much memory an idle node tunnel takes, and where: one node of its own network, a controller and a ztunnel bundled and
// started as in the image, a few captured pods, no traffic. Prints one JSON line a run. `--sources` takes the sources,
// `--node-flag` tries a setting of Node. Needs root.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { nodeFlags } from '../cli/program-files.ts';
import { command } from '../e2e/lab/command.ts';
import { Lab, type LabHost } from '../e2e/lab/lab.ts';
import type { LabProcess } from '../e2e/lab/lab-process.ts';
import { bundledPrograms, sourcePrograms } from './weft-programs.ts';

const controllerPort = 15012;
/** Optimised code, caches and the first garbage collections have come and gone. */
const settleMs = 9_000;

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '3' },
    sources: { type: 'boolean', default: false },
    'node-flag': { type: 'string', multiple: true, default: [] },
    label: { type: 'string', default: '' },
  },
});

const programs = values.sources ? sourcePrograms : await bundledPrograms();
const lab = Lab.open('memory');
try {
  const node = lab.addNode('node-1');
  const pods = Array.from({ length: Number(values.pods) }, (_, index) =>
    lab.addPod(node, { name: `pod-${index + 1}`, podNamespace: 'bench' }),
  );
  await startController(pods);
  const tunnel = startTunnel(node);
  const startedAt = performance.now();
  await tunnel.waitForLine(/configuration complete/, { timeoutMs: 30_000 });
  const startMs = Math.round(performance.now() - startedAt);
  await delay(settleMs);
  const pid = tunnel.child.pid as number;
  const label = values.label || [values.sources ? 'sources' : 'bundle', ...values['node-flag']].join(' ');
  process.stdout.write(`${JSON.stringify({ label, startMs, ...measure(pid) })}\n`);
} finally {
  await lab.close({ keepFiles: true });
}

async function startController(pods: readonly LabHost[]): Promise<void> {
  const config = join(lab.directory, 'config');
  mkdirSync(config);
  writeFileSync(join(config, 'mesh.yaml'), manifests(pods));
  const argv = [process.execPath, programs.controller, '--config', config];
  argv.push('--state', join(lab.directory, 'state'));
  argv.push('--address', `${lab.control.address.v4}:${controllerPort}`);
  const controller = lab.spawn(lab.control, { name: 'controller', argv });
  await controller.waitForLine(/controller is ready/, { timeoutMs: 20_000 });
}

function startTunnel(node: LabHost): LabProcess {
  const state = join(lab.directory, 'state');
  const create = ['token', 'create', '--node', 'node-1', '--state', state];
  const tokenFile = join(lab.directory, 'token');
  writeFileSync(tokenFile, command([process.execPath, programs.cli, ...create]));
  const pins = '/sys/fs/bpf/weft-memory';
  lab.own(pins);
  const flags = [...nodeFlags.ztunnel, ...values['node-flag']];
  const argv = [process.execPath, ...flags, programs.ztunnel, '--node', 'node-1'];
  argv.push('--controller', `${lab.control.address.v4}:${controllerPort}`, '--token-file', tokenFile);
  argv.push('--root-cert', join(state, 'root-cert.pem'), '--pin-dir', pins, '--state-dir', 'none');
  return lab.spawn(node, { name: 'ztunnel', argv });
}

/** JSON is YAML. */
function manifests(pods: readonly LabHost[]): string {
  const objects: unknown[] = [
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } },
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'bench', labels: { 'weft.dev/mode': 'ambient' } },
    },
  ];
  for (const pod of pods) {
    objects.push({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod.name, namespace: 'bench', annotations: { 'weft.dev/netns': pod.namespace } },
      spec: { nodeName: 'node-1', serviceAccountName: 'default', containers: [{ name: 'app' }] },
      status: { podIPs: [{ ip: pod.address.v4 }, { ip: pod.address.v6 }] },
    });
  }
  return objects.map((object) => JSON.stringify(object)).join('\n---\n');
}

/** Megabytes (10^6 bytes). */
function measure(pid: number): Record<string, number> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (text: string, name: string): number =>
    megabytes(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0));
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return {
    rss: field(status, 'VmRSS'),
    pss: field(rollup, 'Pss'),
    peak: field(status, 'VmHWM'),
    ...byMapping(readFileSync(`/proc/${pid}/smaps`, 'utf8')),
  };
}

/** Resident memory of the node program, of other files, of malloc's main arena, and of the rest: V8's heaps and other arenas. */
function byMapping(smaps: string): Record<string, number> {
  const sums = { node: 0, libraries: 0, mallocHeap: 0, anonymous: 0 };
  let at: keyof typeof sums = 'anonymous';
  for (const line of smaps.split('\n')) {
    const path = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)$/.exec(line)?.[1];
    if (path !== undefined) {
      at =
        path === '' || path.startsWith('[anon')
          ? 'anonymous'
          : path === '[heap]'
            ? 'mallocHeap'
            : 'libraries';
      if (path.endsWith('/node')) at = 'node';
    }
    sums[at] += Number(/^Rss:\s+(\d+) kB$/.exec(line)?.[1] ?? 0);
  }
  return Object.fromEntries(Object.entries(sums).map(([name, kilobytes]) => [name, megabytes(kilobytes)]));
}

function megabytes(kibibytes: number): number {
  return Math.round((kibibytes * 1024) / 1e5) / 10;
}
