// The measurement with real clients, step by step: all nodes connect, single changes, a sustained rate, one more node,
// nothing at all, and a restart. Each figure is one number with its target (issue B).

import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rootCertificatePath } from '../../controller/app.ts';
import { JoinTokens } from '../../controller/identity/join-tokens.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { type ControllerStart, ControllerProcess } from './controller-process.ts';
import { type Figure, formatFigure, grown, mb, percentile } from './figures.ts';
import { Fleet } from './fleet.ts';
import { type MeshSize, meshObjects, nodeName, podObject } from './mesh-objects.ts';
import type { ControllerBenchOptions } from './options.ts';
import type { ObjectApi } from './object-api.ts';
import { StandInApi } from './stand-in-api.ts';

const fleets = 2;
const singleChanges = 100;
const singleEveryMs = 200;
const settleMs = 3_000;
/** Beyond this a change counts as lost. */
const lateMs = 20_000;

interface Rig {
  readonly api: ObjectApi;
  readonly start: ControllerStart;
  readonly size: MeshSize;
  readonly tokens: readonly { readonly name: string; readonly token: string }[];
  readonly fleets: Fleet[];
  controller: ControllerProcess;
}

/** Leaves no process and no file behind, whatever its end. */
export async function measureController(
  options: ControllerBenchOptions,
  say: (line: string) => void,
): Promise<readonly Figure[]> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const api = await openApi(options);
  const opened: Fleet[] = [];
  let rig: Rig | undefined;
  try {
    rig = await openRig(options, { directory, api, fleets: opened });
    return await runSteps(rig, options, say);
  } finally {
    for (const fleet of opened) fleet.close();
    await rig?.controller.stop();
    await api.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function openApi({ apiServer }: ControllerBenchOptions): Promise<ObjectApi> {
  if (!apiServer) return await StandInApi.start();
  const { RealApi } = await import('./real-api.ts');
  return await RealApi.start();
}

async function openRig(
  { size, nodeFlags }: ControllerBenchOptions,
  { directory, api, fleets: opened }: { directory: string; api: ObjectApi; fleets: Fleet[] },
): Promise<Rig> {
  await api.fill(meshObjects(size));
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(kubeconfig, await api.kubeconfig());
  const stateDir = join(directory, 'state');
  const joinTokens = new JoinTokens({ stateDir, clock: systemClock });
  const tokens: { name: string; token: string }[] = [];
  for (let n = 0; n <= size.nodes; n++) {
    tokens.push({ name: nodeName(n), token: (await joinTokens.create(nodeName(n))).token });
  }
  const [grpcPort, adminPort] = await freePorts();
  const start = { kubeconfig, stateDir, grpcPort, adminPort, nodeFlags };
  for (let n = 0; n <= fleets; n++) opened.push(await Fleet.start());
  return { api, start, size, tokens, fleets: opened, controller: await ControllerProcess.start(start) };
}

async function runSteps(
  rig: Rig,
  { rate, seconds }: ControllerBenchOptions,
  say: (line: string) => void,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  const add = (...more: Figure[]): void => {
    figures.push(...more);
    for (const figure of more) say(formatFigure(figure));
  };
  say(`Load of the machine before: ${loadavg()[0]?.toFixed(2)}`);
  add(await connectAll(rig));
  await sleep(settleMs);
  add({
    name: 'Resident memory, all nodes connected',
    value: mb(rig.controller.residentBytes()),
    unit: 'MB',
    target: 600,
  });
  add(
    ...(await changesAt(rig, {
      count: singleChanges,
      everyMs: singleEveryMs,
      offset: 0,
      name: 'Single change',
    })),
  );
  const count = rate * seconds;
  add(
    ...(await changesAt(rig, {
      count,
      everyMs: 1000 / rate,
      offset: singleChanges,
      name: `${rate} changes a second`,
    })),
  );
  add(await oneMoreNode(rig));
  await sleep(settleMs);
  add(await idle(rig, seconds));
  add({
    name: 'Resident memory, after all that',
    value: mb(rig.controller.residentBytes()),
    unit: 'MB',
    target: 600,
  });
  add({ name: 'Resident memory, peak', value: mb(rig.controller.peakBytes()), unit: 'MB' });
  add(...(await restart(rig)));
  say(`Load of the machine after: ${loadavg()[0]?.toFixed(2)}`);
  return figures;
}

/** All nodes at once, none of them holding anything. */
async function connectAll(rig: Rig): Promise<Figure> {
  const {
    fleets: [, ...many],
    tokens,
    size,
  } = rig;
  const startedAt = performance.now();
  const share = Math.ceil(size.nodes / many.length);
  await Promise.all(
    many.map((fleet, k) =>
      fleet.connect(orderOf(rig, tokens.slice(k * share, Math.min(size.nodes, (k + 1) * share)))),
    ),
  );
  return {
    name: `${size.nodes} new nodes at once complete`,
    value: performance.now() - startedAt,
    unit: 'ms',
  };
}

interface ChangePlan {
  readonly name: string;
  readonly count: number;
  readonly everyMs: number;
  /** First pod to change: no pod is changed twice, so that none of the changes replaces another. */
  readonly offset: number;
}

/** From the write of a pod until the last node has decoded it. */
async function changesAt(rig: Rig, { name, count, everyMs, offset }: ChangePlan): Promise<Figure[]> {
  const { api, size, controller } = rig;
  const before = await controller.metrics();
  const cpuBefore = controller.cpuSeconds();
  const startedAt = performance.now();
  const stamps: string[] = [];
  const writes: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const version = `t${process.hrtime.bigint() / 1000n}`;
    stamps.push(version);
    writes.push(api.changePod(podObject((offset + i) % size.pods, size, { version })));
    await sleep(Math.max(0, startedAt + (i + 1) * everyMs - performance.now()));
  }
  await Promise.all(writes);
  await sleep(1_500);
  const after = await controller.metrics();
  const wallSeconds = (performance.now() - startedAt) / 1000;
  const cpu = controller.cpuSeconds() - cpuBefore;
  const latencies = await latenciesOf(rig, stamps);
  const responses = grown('weft_controller_xds_responses_total', before, after);
  return [
    { name: `${name}: on every node, p50`, value: percentile(latencies, 50), unit: 'ms', target: 150 },
    { name: `${name}: on every node, p99`, value: percentile(latencies, 99), unit: 'ms', target: 1000 },
    {
      name: `${name}: event loop delay p99`,
      value: (after.get('nodejs_eventloop_lag_p99_seconds') ?? Number.NaN) * 1000,
      unit: 'ms',
      target: 50,
    },
    {
      name: `${name}: event loop delay, worst`,
      value: (after.get('nodejs_eventloop_lag_max_seconds') ?? Number.NaN) * 1000,
      unit: 'ms',
    },
    { name: `${name}: CPU of the controller`, value: (100 * cpu) / wallSeconds, unit: '%' },
    { name: `${name}: CPU for each change`, value: (1000 * cpu) / count, unit: 'ms' },
    { name: `${name}: responses for each change`, value: responses / count, unit: '' },
  ];
}

/** Waits for the last node. Throws if a node has missed a change. */
async function latenciesOf({ fleets: [, ...many], size }: Rig, stamps: readonly string[]): Promise<number[]> {
  const deadline = performance.now() + lateMs;
  for (;;) {
    const reports = await Promise.all(many.map((fleet) => fleet.report()));
    const seen = stamps.map((stamp) => reports.flatMap(({ changes }) => changes[stamp] ?? []));
    const missing = seen.filter((of) => of.reduce((sum, { nodes }) => sum + nodes, 0) < size.nodes).length;
    if (missing === 0) {
      return seen.map((of, i) => {
        const lastUs = Math.max(...of.map((change) => change.lastUs));
        return (lastUs - Number(stamps[i]?.slice(1))) / 1000;
      });
    }
    if (performance.now() > deadline) throw new Error(`Not every node heard of ${missing} changes in time`);
    await sleep(500);
  }
}

async function oneMoreNode(rig: Rig): Promise<Figure> {
  const startedAt = performance.now();
  const workloads = await (rig.fleets[0] as Fleet).connect(orderOf(rig, rig.tokens.slice(-1)));
  const value = performance.now() - startedAt;
  if (workloads < rig.size.pods) throw new Error(`A new node heard of ${workloads} workloads only`);
  return { name: 'One new node complete', value, unit: 'ms', target: 3000 };
}

async function idle({ controller }: Rig, seconds: number): Promise<Figure> {
  const before = controller.cpuSeconds();
  await sleep(seconds * 1000);
  const value = (100 * (controller.cpuSeconds() - before)) / seconds;
  return { name: 'Idle CPU of a core', value, unit: '%', target: 2 };
}

/** The controller is killed and starts anew; every node holds current versions and must be told nothing twice. */
async function restart(rig: Rig): Promise<Figure[]> {
  const before = await Promise.all(rig.fleets.map((fleet) => fleet.report()));
  // Ended as usual where a profile is wanted: it is written at the end.
  await rig.controller.stop(rig.start.nodeFlags.length > 0 ? 'SIGTERM' : 'SIGKILL');
  const startedAt = performance.now();
  rig.controller = await ControllerProcess.start(rig.start);
  const readyMs = performance.now() - startedAt;
  let after = before;
  const connects = (reports: typeof before): number => reports.reduce((sum, one) => sum + one.connects, 0);
  while (connects(after) < connects(before) + rig.size.nodes + 1) {
    if (performance.now() - startedAt > 60_000) throw new Error('Not every node came back within a minute');
    await sleep(100);
    after = await Promise.all(rig.fleets.map((fleet) => fleet.report()));
  }
  const backMs = performance.now() - startedAt;
  await sleep(2 * settleMs);
  after = await Promise.all(rig.fleets.map((fleet) => fleet.report()));
  const metrics = await rig.controller.metrics();
  const sum = (key: 'resources' | 'bytes'): number =>
    after.reduce((total, report, k) => total + report[key] - (before[k]?.[key] ?? 0), 0);
  return [
    { name: 'Restart: controller is ready', value: readyMs, unit: 'ms' },
    { name: 'Restart: every node is back', value: backMs, unit: 'ms' },
    {
      name: 'Restart: resources sent',
      value: metrics.get('weft_controller_xds_resources_total') ?? Number.NaN,
      unit: '',
      target: 0,
    },
    { name: 'Restart: resources that nodes decoded', value: sum('resources'), unit: '', target: 0 },
    { name: 'Restart: kilobytes of responses to all nodes', value: sum('bytes') / 1000, unit: '' },
    {
      name: 'Restart: event loop delay, worst',
      value: (metrics.get('nodejs_eventloop_lag_max_seconds') ?? 0) * 1000,
      unit: 'ms',
    },
    { name: 'Restart: peak resident memory', value: mb(rig.controller.peakBytes()), unit: 'MB' },
  ];
}

function orderOf(
  { start: { grpcPort, stateDir } }: Rig,
  nodes: Rig['tokens'],
): Parameters<Fleet['connect']>[0] {
  return { address: `127.0.0.1:${grpcPort}`, rootsFile: rootCertificatePath(stateDir), nodes };
}

/** Two ports that are free now: nodes must find the controller on the same one after its restart. */
async function freePorts(): Promise<[number, number]> {
  const take = (): Promise<{ port: number; free: () => void }> =>
    new Promise((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        resolve({ port: (server.address() as { port: number }).port, free: () => server.close() });
      });
    });
  const taken = [await take(), await take()] as const;
  for (const { free } of taken) free();
  return [taken[0].port, taken[1].port];
}
