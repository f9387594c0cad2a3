// Pods that join, leave, vanish and come back, and modes that change, while traffic runs: what an application notices
// of it must be nothing, or exactly what was asked for.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { command, ipBatch } from '../lab/command.ts';
import { podCommands, podOnNodeCommands } from '../lab/topology.ts';
import { callApi, failure } from './calls.ts';
import { apiPort, echoPort, MeshLab, type MeshPod, peerAuthenticationObject, podObject } from './mesh-lab.ts';

const timeout = 60_000;

describe.skipIf(skipKernelTests)(`pods that join and leave${skipReason}`, () => {
  let mesh: MeshLab;
  let web: MeshPod;
  let api: MeshPod;
  let stranger: MeshPod;

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshpods',
      pods: [
        { name: 'web', app: 'web', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-2' },
        { name: 'reborn', app: 'api', node: 'node-2' },
        { name: 'stranger', app: 'stranger', node: 'node-1', namespace: 'outside' },
      ],
    });
    [web, api, stranger] = ['web', 'api', 'stranger'].map((name) => mesh.pod(name)) as [
      MeshPod,
      MeshPod,
      MeshPod,
    ];
  }, timeout);

  afterAll(async () => {
    await mesh?.close();
  });

  test('a label that comes and goes under 200 connections a second fails none of them', {
    timeout,
  }, async () => {
    await web.agent.call('open', { id: 'held', host: api.v4, port: echoPort });
    await web.agent.call('startLoad', {
      id: 'load',
      kind: 'connections',
      host: api.v4,
      port: apiPort,
      concurrency: 4,
    });
    for (let i = 0; i < 6; i++) {
      mesh.enrol(false);
      await mesh.untilCaptured(false);
      await goOn();
      mesh.enrol(true);
      await mesh.untilCaptured();
      await goOn();
    }
    const report = await web.agent.call('stopLoad', 'load');
    expect(report.errors).toEqual({});
    expect(report.failed).toBe(0);
    expect(report.succeeded / report.seconds).toBeGreaterThan(50);
    expect(await web.agent.call('exchange', { id: 'held', text: 'the same connection' })).toBe(
      'the same connection',
    );
    await web.agent.call('close', 'held');

    async function goOn(): Promise<void> {
      const { succeeded } = await web.agent.call('loadProgress', 'load');
      await eventually('more traffic', async () =>
        (await web.agent.call('loadProgress', 'load')).succeeded > succeeded + 100 ? true : undefined,
      );
    }
  });

  test('STRICT and PERMISSIVE in turn: the stranger is refused and admitted, its connection cut, the mesh goes on', {
    timeout,
  }, async () => {
    await web.agent.call('startLoad', {
      id: 'mesh',
      kind: 'connections',
      host: api.v4,
      port: apiPort,
      concurrency: 2,
    });
    for (let i = 0; i < 3; i++) {
      mesh.apply('mtls', peerAuthenticationObject('PERMISSIVE'));
      await eventually('admitted: the stranger', async () => await callApi(stranger, api.v4));
      await stranger.agent.call('open', { id: 'plain', host: api.v6, port: echoPort });
      await stranger.agent.call('exchange', { id: 'plain', text: 'hello' });
      mesh.apply('mtls', peerAuthenticationObject('STRICT'));
      const cut = await stranger.agent.call('awaitClose', { id: 'plain', timeoutMs: 20_000 });
      expect(cut).toEqual({ open: false, reason: 'ECONNRESET' });
      // The cut is the node's acknowledgement: nothing is admitted after it.
      expect(await failure(stranger, api.v4)).toBe('ECONNRESET');
      await stranger.agent.call('close', 'plain');
    }
    mesh.remove('mtls');
    expect(await web.agent.call('stopLoad', 'mesh')).toMatchObject({ failed: 0, errors: {} });
  });

  test('a namespace path that does not exist fails that pod only, with the reason, until it is there', {
    timeout,
  }, async () => {
    const namespace = 'weft-meshpods-late';
    const plan = { ...api, name: 'late', netns: namespace, v4: '10.77.2.99', v6: 'fd77:0:0:2::99' };
    mesh.apply('pod-late', podObject(plan));
    const failed = await eventually('failed: late', async () => {
      const state = (await mesh.podStates('node-2')).get('late');
      return state?.state === 'Failed' ? state : undefined;
    });
    expect(failed.reason).toContain(`/${namespace}`);
    expect((await callApi(web, api.v4)).client).toBe(web.v4);
    const { status, body } = await mesh.ask('node-2', 15021, '/healthz/ready');
    expect([status, body]).toEqual([200, 'ready']);
    const node = mesh.nodes[1];
    if (node === undefined) throw new Error('No second node');
    mesh.lab.addPod(node, { name: 'late', podNamespace: 'shop', address: { v4: plan.v4, v6: plan.v6 } });
    await eventually(
      'captured: late',
      async () => ((await mesh.podStates('node-2')).get('late')?.state === 'Up' ? true : undefined),
      30_000,
    );
    mesh.remove('pod-late');
  });

  test('a pod whose namespace is deleted is reported, hurts nobody, and is captured when it comes back', {
    timeout,
  }, async () => {
    const reborn = mesh.pod('reborn');
    const { namespace } = reborn.host;
    await web.agent.call('open', { id: 'lost', host: reborn.v4, port: echoPort });
    await web.agent.call('open', { id: 'held', host: api.v4, port: echoPort });
    await web.agent.call('startLoad', {
      id: 'load',
      kind: 'connections',
      host: api.v4,
      port: apiPort,
      concurrency: 2,
    });
    command(['ip', 'netns', 'delete', namespace]);
    const gone = await eventually('reported: reborn', async () => {
      const state = (await mesh.podStates('node-2')).get('reborn');
      return state?.state === 'Failed' ? state : undefined;
    });
    expect(gone.reason).toContain(namespace);
    expect(await web.agent.call('awaitClose', { id: 'lost', timeoutMs: 20_000 })).toMatchObject({
      open: false,
    });
    buildAgain(reborn);
    await eventually(
      'captured again: reborn',
      async () => ((await mesh.podStates('node-2')).get('reborn')?.state === 'Up' ? true : undefined),
      30_000,
    );
    // Nobody else noticed.
    expect(await web.agent.call('stopLoad', 'load')).toMatchObject({ failed: 0, errors: {} });
    expect(await web.agent.call('exchange', { id: 'held', text: 'unharmed' })).toBe('unharmed');
    // In the new namespace it is a pod of the mesh, with the same name and address.
    const app = mesh.program(reborn.host, 'app-reborn-again', ['e2e/apps/api.ts', '--pod', 'reborn again']);
    await app.waitForLine(/listening/);
    const log = mesh.tunnel('node-1').log;
    const from = log.mark();
    expect(await callApi(web, reborn.v4)).toMatchObject({ pod: 'reborn again', client: web.v4 });
    await log.waitFor(/connection complete.*dst\.workload="reborn".*dst\.identity="spiffe/, { from });
    for (const id of ['lost', 'held']) await web.agent.call('close', id);
  });

  /** The network of a pod whose namespace was deleted, again under the same name. */
  function buildAgain({ host }: MeshPod): void {
    const node = mesh.nodes[1];
    if (node === undefined) throw new Error('No second node');
    // Processes that still run in the old namespace keep its end of the link alive.
    ipBatch(node.namespace, [`link delete p-${host.name}`]);
    command(['ip', 'netns', 'add', host.namespace]);
    ipBatch(node.namespace, podOnNodeCommands(2, host));
    ipBatch(host.namespace, podCommands(2, host));
  }
});
