// As many connections at once as a process may hold here, from several pods: accepting pauses at --max-connections and
// goes on by itself, memory stays bounded, and afterwards everything is as before.

import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { command } from '../lab/command.ts';
import type { LabProcess } from '../lab/lab-process.ts';
import { callApi } from './calls.ts';
import type { Crowd } from './crowd.ts';
import { echoPort, MeshLab, type MeshPod } from './mesh-lab.ts';

const timeout = 150_000;
/** A ztunnel holds one descriptor a connection; raising the hard limit needs CAP_SYS_RESOURCE. */
const descriptorLimit = Math.min(
  60_000,
  Number(command(['sh', '-c', 'ulimit -Hn']).replace('unlimited', 'Infinity')),
);
const total = Math.min(50_000, descriptorLimit - 2_000);
const admitted = Math.round(total * 0.8);
/** Resident bytes of a ztunnel for each connection beyond its idle size. */
const bytesEach = 32 * 1024;

describe.skipIf(skipKernelTests)(`${total} connections at once${skipReason}`, () => {
  let mesh: MeshLab;
  const clients: { readonly pod: MeshPod; readonly program: LabProcess; now: Crowd }[] = [];

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshmany',
      pods: [
        { name: 'web-1', app: 'web', node: 'node-1' },
        { name: 'web-2', app: 'web', node: 'node-1' },
        { name: 'web-3', app: 'web', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-2' },
      ],
      tunnelFlags: ['--max-connections', String(admitted)],
    });
    for (const name of ['web-1', 'web-2', 'web-3']) {
      const pod = mesh.pod(name);
      const argv = [process.execPath, new URL('./crowd.ts', import.meta.url).pathname];
      const program = mesh.lab.spawn(pod.host, { name: `crowd-${name}`, argv, channel: true });
      const client = { pod, program, now: { connected: 0, answered: 0, errors: {} } as Crowd };
      program.child.on('message', (now) => {
        client.now = now as Crowd;
      });
      clients.push(client);
    }
  }, timeout);

  afterAll(async () => {
    await mesh?.close();
  });

  const sum = (what: 'connected' | 'answered'): number =>
    clients.reduce((all, { now }) => all + now[what], 0);
  const tell = (message: object): void => {
    for (const { program } of clients) program.child.send(message);
  };
  const until = (what: string, holds: () => boolean): Promise<true> =>
    eventually(what, async () => (holds() ? true : undefined), 90_000);
  const pidOf = (node: string): number => mesh.tunnel(node).identity.pid;

  test('the rest waits at the limit and is served as others end; all end, and nothing is left', {
    timeout,
  }, async () => {
    const api = mesh.pod('api');
    const [first] = clients;
    if (first === undefined) throw new Error('No client');
    await callApi(first.pod, api.v4);
    const before = ['node-1', 'node-2'].map((node) => ({
      memory: residentBytes(pidOf(node)),
      open: descriptors(pidOf(node)),
    }));
    tell({ open: [api.v4, echoPort, Math.floor(total / clients.length)] });
    // At the limit less the tunnels, which count too.
    await until('at the limit', () => sum('answered') >= admitted - 500);
    await until('connected, all of them', () => sum('connected') >= total - clients.length);
    expect(sum('answered')).toBeLessThanOrEqual(admitted);
    for (const [i, node] of ['node-1', 'node-2'].entries()) {
      expect(residentBytes(pidOf(node))).toBeLessThan((before[i]?.memory ?? 0) + admitted * bytesEach);
    }
    tell({ close: Math.ceil((total - admitted + 1_500) / clients.length) });
    await until(
      'served: those that waited',
      () => sum('answered') >= sum('connected') && sum('connected') < admitted,
    );
    tell({ ping: true });
    await until('alive: all that are open', () => sum('answered') >= sum('connected'));
    expect(clients.map(({ now }) => now.errors)).toEqual([{}, {}, {}]);
    expect((await callApi(first.pod, api.v4)).pod).toBe('api');
    tell({ close: total });
    for (const node of ['node-1', 'node-2']) {
      await eventually(
        `idle: ${node}`,
        async () => ((await mesh.connections(node)).length === 0 ? true : undefined),
        60_000,
      );
    }
    const tunnels = Math.ceil(admitted / 100) + 10;
    for (const [i, node] of ['node-1', 'node-2'].entries()) {
      expect(descriptors(pidOf(node))).toBeLessThan((before[i]?.open ?? 0) + tunnels + 60);
    }
    expect((await callApi(first.pod, api.v4)).pod).toBe('api');
  });
});

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4096;
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
