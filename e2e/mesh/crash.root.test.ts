// Processes of the mesh that are killed, stopped and started again under traffic: what must go on goes on, what must
// not be sent is not sent, and what must be gone at the end is gone.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { heldObjects, remaining } from '../../bpf/testing/kernel-objects.ts';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { callApi, failure } from './calls.ts';
import { apiPort, echoPort, MeshLab, type MeshPod, policyObject } from './mesh-lab.ts';

const timeout = 60_000;
const secret = 'never-in-the-clear';

describe.skipIf(skipKernelTests)(`kill, stop and start again${skipReason}`, () => {
  let mesh: MeshLab;
  let web: MeshPod;
  let batch: MeshPod;
  let api: MeshPod;

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshcrsh',
      pods: [
        { name: 'web', app: 'web', node: 'node-1' },
        { name: 'batch', app: 'batch', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-2' },
      ],
      tunnelFlags: ['--drain-timeout-ms', '3000'],
    });
    web = mesh.pod('web');
    batch = mesh.pod('batch');
    api = mesh.pod('api');
    mesh.apply('policy', policyObject('no-batch', denyFrom('batch')));
    await eventually('refused: batch', async () =>
      (await failure(batch, api.v4)) === '' ? undefined : true,
    );
  });

  afterAll(async () => {
    await mesh?.close();
  });

  test('kill -9 of the controller: traffic and policies stay, and then only changes come', {
    timeout,
  }, async () => {
    await web.agent.call('open', { id: 'held', host: api.v4, port: echoPort });
    await mesh.controller.stop('SIGKILL');
    for (let i = 0; i < 5; i++) expect((await callApi(web, api.v4)).client).toBe(web.v4);
    expect(await failure(batch, api.v4)).toBe('ECONNRESET');
    const before = await xdsBytes('node-2');
    await mesh.startController();
    const log = mesh.tunnel('node-2').log;
    await log.waitFor(/connected/, { from: log.mark() - 1 }).catch(() => undefined);
    mesh.remove('policy');
    await eventually('admitted: batch', async () =>
      (await failure(batch, api.v4)) === '' ? true : undefined,
    );
    mesh.apply('policy', policyObject('no-batch', denyFrom('batch')));
    await eventually('refused: batch', async () =>
      (await failure(batch, api.v4)) === '' ? undefined : true,
    );
    expect(await web.agent.call('exchange', { id: 'held', text: 'still here' })).toBe('still here');
    const after = await xdsBytes('node-2');
    // The client named what it had: no workload came again, only an empty answer.
    expect(after.workloads - before.workloads).toBeLessThan(100);
    expect(before.workloads).toBeGreaterThan(500);
    await web.agent.call('close', 'held');
  });

  test('kill -9 of the client’s ztunnel: refused at once, nothing in plaintext, until it is back', {
    timeout,
  }, async () => {
    using capture = mesh.lab.capture();
    await web.agent.call('open', { id: 'lost', host: api.v4, port: echoPort });
    await mesh.tunnel('node-1').stop('SIGKILL');
    expect(await web.agent.call('awaitClose', { id: 'lost', timeoutMs: 10_000 })).toMatchObject({
      open: false,
    });
    for (const host of [api.v4, api.v6]) expect(await failure(web, host, `/${secret}`)).toBe('ECONNREFUSED');
    await mesh.startTunnel(hostOf('node-1'));
    await mesh.untilCaptured();
    expect((await callApi(web, api.v4, `/${secret}`)).client).toBe(web.v4);
    expect(await failure(batch, api.v4, `/${secret}`)).toBe('ECONNRESET');
    expect(capture.framesWith(secret)).toBe(0);
    await web.agent.call('close', 'lost');
  });

  test('kill -9 of the server’s ztunnel: nothing gets to the pod, neither tunnelled nor plain', {
    timeout,
  }, async () => {
    using capture = mesh.lab.capture();
    await mesh.tunnel('node-2').stop('SIGKILL');
    expect(await failure(web, api.v4, `/${secret}`)).not.toBe('');
    // From the node itself, which is not captured: dropped, not passed on.
    const node = mesh.lab.agent(hostOf('node-1'));
    const plain = node.call('http', { host: api.v4, port: apiPort, path: `/${secret}`, timeoutMs: 1_500 });
    await expect(plain).rejects.toThrow(/abort|timed? ?out|ETIMEDOUT/i);
    await node.stop();
    expect(capture.framesWith(`GET /${secret}`)).toBe(0);
    await mesh.startTunnel(hostOf('node-2'));
    await mesh.untilCaptured();
    await eventually('answered: web', async () => await callApi(web, api.v4));
    expect(await failure(batch, api.v4)).toBe('ECONNRESET');
  });

  test('SIGTERM drains: what is open finishes, what is new is served meanwhile, then the process ends', {
    timeout,
  }, async () => {
    await web.agent.call('open', { id: 'finishing', host: api.v4, port: echoPort });
    const tunnel = mesh.tunnel('node-1');
    const from = tunnel.log.mark();
    const ended = tunnel.stop('SIGTERM', 30_000);
    await tunnel.log.waitFor(/draining/, { from });
    // There is no other to serve it.
    expect((await callApi(web, api.v4)).client).toBe(web.v4);
    expect(await web.agent.call('exchange', { id: 'finishing', text: 'to the end' })).toBe('to the end');
    await web.agent.call('close', 'finishing');
    expect(await ended).toBe(0);
    expect(await failure(web, api.v4)).toBe('ECONNREFUSED');
    await mesh.startTunnel(hostOf('node-1'));
    await mesh.untilCaptured();
    await callApi(web, api.v4);
  });

  test('SIGTERM cuts at the end of the drain time what does not finish', { timeout }, async () => {
    await web.agent.call('open', { id: 'idle', host: api.v4, port: echoPort });
    expect(await mesh.tunnel('node-1').stop('SIGTERM', 30_000)).toBe(0);
    expect(await web.agent.call('state', 'idle')).toMatchObject({ open: false });
    await web.agent.call('close', 'idle');
  });

  test('--on-exit release removes pins, programs and maps of an instance that was taken over', {
    timeout,
  }, async () => {
    await mesh.tunnel('node-1').stop('SIGKILL');
    const tunnel = await mesh.startTunnel(hostOf('node-1'), ['--on-exit', 'release']);
    await mesh.untilCaptured();
    const held = heldObjects(tunnel.identity.pid);
    expect(held.programs.length).toBeGreaterThan(9);
    await tunnel.stop('SIGTERM', 30_000);
    expect(await remaining(held)).toEqual({ programs: [], maps: [] });
    expect(pins('node-1')).toEqual([]);
  });

  test('with --pin-dir none an end, orderly or not, leaves nothing in the kernel and pods are plain', {
    timeout,
  }, async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const tunnel = await mesh.startTunnel(hostOf('node-1'), ['--pin-dir', 'none']);
      await mesh.untilCaptured();
      expect((await callApi(web, api.v4)).client).toBe(web.v4);
      const held = heldObjects(tunnel.identity.pid);
      expect(held.programs.length).toBeGreaterThan(9);
      await tunnel.stop(signal, 30_000);
      expect(await remaining(held)).toEqual({ programs: [], maps: [] });
    }
    expect((await callApi(web, api.v4)).pod).toBe('api');
  });

  function hostOf(node: string) {
    const host = mesh.nodes.find(({ name }) => name === node);
    if (host === undefined) throw new Error(`No node ${node}`);
    return host;
  }

  /** Bytes of resources the node's ztunnel has received, by type. */
  async function xdsBytes(node: string): Promise<{ readonly workloads: number }> {
    const { body } = await mesh.ask(node, 15020, '/metrics');
    const line = /istio_xds_message_bytes_total\{url="[^"]*istio\.workload\.Address"\} (\d+)/.exec(body);
    return { workloads: Number(line?.[1] ?? Number.NaN) };
  }
});

function denyFrom(serviceAccount: string): object {
  return {
    action: 'DENY',
    rules: [{ from: [{ source: { principals: [`cluster.local/ns/shop/sa/${serviceAccount}`] } }] }],
  };
}

function pins(node: string): string[] {
  const directory = join('/sys/fs/bpf/weft-meshcrsh', node);
  return existsSync(directory) ? readdirSync(directory, { recursive: true }).map(String) : [];
}
