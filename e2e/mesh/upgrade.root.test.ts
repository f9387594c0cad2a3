// A node tunnel is replaced by the next one while both run: no connection is lost, neither at the node of the clients nor
// at that of the servers, long streams finish with the process they began at, and the last one to come wins.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import type { LabHost } from '../lab/lab.ts';
import type { LabProcess } from '../lab/lab-process.ts';
import { callApi } from './calls.ts';
import { apiPort, echoPort, MeshLab, type MeshPod, serviceObject } from './mesh-lab.ts';

const long = process.env['WEFT_LONG'] === '1';
/** Of each node. */
const takeovers = long ? 10 : 2;
/** Requests before, between and after takeovers, of each stream of load. */
const stretch = long ? 2_000 : 60;
const timeout = long ? 1_800_000 : 120_000;

/** Both processes of a node are in one network namespace: each has ports of its own for its pages. */
const pagePorts = [15_000, 16_000];

describe.skipIf(skipKernelTests)(`one node tunnel after the other${skipReason}`, () => {
  let mesh: MeshLab;
  let web: MeshPod;
  let far: MeshPod;
  const running = new Map<string, { process: LabProcess; generation: number }>();

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshupgr',
      pods: [
        { name: 'web', app: 'web', node: 'node-1' },
        { name: 'near', app: 'near', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-2' },
      ],
      tunnelFlags: ['--drain-timeout-ms', '20000'],
    });
    web = mesh.pod('web');
    far = mesh.pod('api');
    mesh.apply('services', serviceObject('api', '10.96.0.50'), serviceObject('near', '10.96.0.51'));
    for (const { name } of mesh.nodes) running.set(name, { process: mesh.tunnel(name), generation: 0 });
    for (const host of ['api.shop', 'near.shop'])
      await eventually(`known: ${host}`, async () => await callService(host));
  }, 60_000);

  afterAll(async () => {
    await mesh?.close();
  });

  test(
    'no request is lost, whichever node changes its node tunnel, on the way out, in, and within a node',
    async () => {
      const service = { concurrency: 4, kind: 'connections', perSecond: 50, port: apiPort } as const;
      await web.agent.call('startLoad', { ...service, id: 'to-other-node', host: 'api.shop' });
      await web.agent.call('startLoad', { ...service, id: 'to-same-node', host: 'near.shop' });
      await far.agent.call('startLoad', { ...service, id: 'from-other-node', host: web.v6 });
      for (let i = 0; i < takeovers; i++) {
        for (const node of mesh.nodes) {
          await more(stretch);
          const { process } = await takeOver(node);
          await more(stretch);
          expect(await process.stop('SIGTERM', 30_000)).toBe(0);
        }
      }
      await more(stretch);
      const reports = await Promise.all([
        web.agent.call('stopLoad', 'to-other-node'),
        web.agent.call('stopLoad', 'to-same-node'),
        far.agent.call('stopLoad', 'from-other-node'),
      ]);
      for (const { failed, errors } of reports) expect({ failed, errors }).toEqual({ failed: 0, errors: {} });
      if (long) console.log(`${reports.reduce((sum, { succeeded }) => sum + succeeded, 0)} requests`);
    },
    timeout,
  );

  test(
    'streams that are open finish with the process they began at, and new ones go to the next',
    async () => {
      const [node] = mesh.nodes as [LabHost];
      await web.agent.call('open', { id: 'long', host: far.v4, port: echoPort });
      await web.agent.call('open', { id: 'within', host: mesh.pod('near').v4, port: echoPort });
      const old = await takeOver(node);
      const from = old.process.log.mark();
      const ended = old.process.stop('SIGTERM', 30_000);
      await old.process.log.waitFor(/draining/, { from });
      expect((await callApi(web, far.v4)).client).toBe(web.v4);
      for (const id of ['long', 'within'])
        expect(await web.agent.call('exchange', { id, text: 'to the end' })).toBe('to the end');
      await web.agent.call('close', 'long');
      await web.agent.call('close', 'within');
      expect(await ended).toBe(0);
      expect((await callApi(web, far.v4)).client).toBe(web.v4);
    },
    timeout,
  );

  test(
    'one that can not capture what was captured is never ready, and its pods are served as before',
    async () => {
      const [node] = mesh.nodes as [LabHost];
      // Two addresses for each of nine workers: more listeners than a pod can have.
      const broken = spawnTunnel(node, 'broken', 22_000, ['--workers', '9']);
      await broken.waitForLine(/Pod is not captured/, { timeoutMs: 30_000 });
      const { status, body } = await mesh.ask(node.name, 22_021, '/healthz/ready');
      expect([status, body]).toEqual([500, 'not ready, pending: pods of this node\n']);
      for (let i = 0; i < 5; i++) expect((await callApi(web, far.v4)).client).toBe(web.v4);
      expect(await broken.stop('SIGTERM', 30_000)).toBe(0);
      const { process } = await takeOver(node);
      expect(await process.stop('SIGTERM', 30_000)).toBe(0);
      expect((await callApi(web, far.v4)).client).toBe(web.v4);
    },
    timeout,
  );

  test(
    'the last of several wins, and the others change nothing when they end',
    async () => {
      const [node] = mesh.nodes as [LabHost];
      const others = [20_000, 21_000].map((base, i) => spawnTunnel(node, `another-${i}`, base));
      await Promise.all(
        others.map((other) => other.waitForLine(/configuration complete/, { timeoutMs: 30_000 })),
      );
      const { process } = await takeOver(node);
      for (const other of [...others, process]) expect(await other.stop('SIGTERM', 30_000)).toBe(0);
      for (let i = 0; i < 20; i++) expect((await callApi(web, far.v4)).client).toBe(web.v4);
      expect((await callApi(far, web.v4)).pod).toBe('web');
    },
    timeout,
  );

  /** Starts the next one; resolves with the one before when the next is ready, both running. */
  async function takeOver(node: LabHost): Promise<{ process: LabProcess }> {
    const old = running.get(node.name);
    if (old === undefined) throw new Error(`No node tunnel runs on ${node.name}`);
    const generation = old.generation + 1;
    const base = pagePorts[generation % pagePorts.length] as number;
    const process = await startTunnel(node, `ztunnel-${node.name}-${generation}`, base);
    running.set(node.name, { process, generation });
    return old;
  }

  /** Resolves when it is ready. */
  async function startTunnel(node: LabHost, name: string, base: number): Promise<LabProcess> {
    const process = spawnTunnel(node, name, base);
    await eventually(
      `ready: ${name}`,
      async () =>
        (await mesh.ask(node.name, base + 21, '/healthz/ready')).status === 200 ? true : undefined,
      30_000,
    );
    return process;
  }

  function spawnTunnel(node: LabHost, name: string, base: number, more: readonly string[] = []): LabProcess {
    const flags = [
      '--admin-port',
      `${base}`,
      '--metrics-port',
      `${base + 20}`,
      '--drain-timeout-ms',
      '20000',
    ];
    flags.push('--readiness-port', `${base + 21}`);
    return mesh.program(node, name, mesh.tunnelArguments(node, [...flags, ...more]));
  }

  async function callService(host: string): Promise<true> {
    await web.agent.call('http', { host, port: apiPort, path: '/', timeoutMs: 5_000 });
    return true;
  }

  /** Resolves when every load has gone on by so many. */
  async function more(count: number): Promise<void> {
    const asked = [
      [web, 'to-other-node'],
      [web, 'to-same-node'],
      [far, 'from-other-node'],
    ] as const;
    const done = () =>
      Promise.all(asked.map(async ([pod, id]) => (await pod.agent.call('loadProgress', id)).succeeded));
    const before = await done();
    await eventually(
      `${count} more requests`,
      async () => ((await done()).every((n, i) => n >= (before[i] ?? 0) + count) ? true : undefined),
      timeout,
    );
  }
});
