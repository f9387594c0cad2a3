// Pods that come and go under traffic, and what a node has left afterwards: descriptors, tracked connections, kernel
// map entries and namespaces are back to what they were.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { BpfMap } from '../bpf/bpf-map.ts';
import { heldObjects, remaining } from '../bpf/testing/kernel-objects.ts';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { openDescriptors } from '../mesh/io/testing/leaks.ts';
import { DataPlaneRig, type RigPod, tunnelsFrom } from './testing/data-plane-rig.ts';
import {
  closed,
  connectFrom,
  echo,
  ending,
  type PodServer,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';

const port = 8080;
/** Sockets made ahead: a few in each family and pod (socket-stash.ts). */
const spareSockets = 7 * 2 * 3;

describe.skipIf(skipKernelTests)(`pods that come and go${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let server: RigPod;
  let app: PodServer;

  let baseline: number;

  beforeAll(async () => {
    // The thread's own namespace is opened once and kept (netns.ts).
    withNetns('/proc/self/ns/net', () => undefined);
    baseline = openDescriptors();
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client');
    server = await rig.addPod('server', { node: 'node-2' });
    app = serve(server, port, echo);
  });

  async function pings(host: string): Promise<string> {
    const socket = connectFrom(client, host, port);
    const answer = await roundTrip(socket);
    socket.destroy();
    return answer;
  }

  it('10,000 short connections leave no descriptor, no map entry, no tracked connection, no tunnel', {
    timeout: 120_000,
  }, async () => {
    expect(await pings(server.ipv4)).toBe('ping');
    await Promise.all(rig.nodes.map((node) => node.idle()));
    const before = { descriptors: openDescriptors(), tunnels: tunnelsFrom(client) };
    let left = 10_000;
    const failures: string[] = [];
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        while (left-- > 0) {
          const answer = await pings(server.ipv4);
          if (answer !== 'ping') failures.push(answer);
        }
      }),
    );
    expect(failures).toEqual([]);
    await Promise.all(rig.nodes.map((node) => node.idle()));
    await within('the sockets of this test to be closed', allClosed(app));
    expect(openDescriptors()).toBeLessThanOrEqual(before.descriptors + spareSockets);
    expect(tunnelsFrom(client)).toBe(before.tunnels);
    // Of each node: what passes between two ends of a handshake, verdicts, flows on their way past the proxy.
    expect(flowEntries()).toEqual(rig.nodes.flatMap(() => [0, 0, 0]));
  });

  it("a pod's namespace that is deleted while captured hurts nobody, and its connections end", async () => {
    const doomed = await rig.addPod('doomed', { node: 'node-2' });
    const _app = serve(doomed, port, echo);
    const held = connectFrom(client, server.ipv4, port);
    const lost = connectFrom(client, doomed.ipv4, port);
    expect([await roundTrip(held), await roundTrip(lost)]).toEqual(['ping', 'ping']);
    execFileSync('ip', ['netns', 'del', doomed.name]);
    // The kernel keeps the namespace for as long as sockets of it are open: the node's own.
    expect(await roundTrip(held)).toBe('ping');
    await rig.release(doomed, 'now');
    expect(await ending(lost)).toBe('ECONNRESET');
    expect(await roundTrip(held)).toBe('ping');
    held.destroy();
    await _app[Symbol.asyncDispose]();
    execFileSync('ip', ['netns', 'add', doomed.name]); // for the network's own clean-up
    await rig.apply({ removed: { workloads: [doomed.workload.uid] } });
  });

  it('a pod that leaves the mesh keeps its tunnelled connections until they end; new ones are plain', async () => {
    const leaving = await rig.addPod('leaving', { node: 'node-2' });
    await using _app = serve(leaving, port, echo);
    const held = connectFrom(client, leaving.ipv4, port);
    expect(await roundTrip(held)).toBe('ping');
    await rig.apply({ workloads: [{ ...leaving.workload, tunnelProtocol: 'none' }] });
    await rig.release(leaving, 'drain');
    expect(await roundTrip(held)).toBe('ping');
    const from = client.node.log.length;
    expect(await pings(leaving.ipv4)).toBe('ping');
    const line = await client.node.logLine(/connection complete.*dst.workload="leaving"/, from);
    expect(line).not.toContain('dst.identity');
    held.end();
    expect(await ending(held)).toBe('end');
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  it('enrolled and released 30 times under a loop of connects: nothing fails', {
    timeout: 60_000,
  }, async () => {
    const flapping = await rig.addPod('flapping', { node: 'node-2' });
    await using _app = serve(flapping, port, echo);
    let stopping = false;
    let answers = 0;
    const failures: string[] = [];
    const loops = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!stopping) {
          const answer = await pings(flapping.ipv4);
          answers++;
          if (answer !== 'ping') failures.push(`${answer} after ${answers}`);
        }
      }),
    );
    const plain = { ...flapping.workload, tunnelProtocol: 'none' } as const;
    for (let i = 0; i < 30; i++) {
      // As the node tunnel does: the workload says how to be reached before its listeners go, and after they are there.
      await rig.apply({ workloads: [plain] });
      await rig.release(flapping, 'drain');
      await within(
        'traffic',
        more(() => answers, 5),
      );
      await rig.capture(flapping);
      await rig.apply({ workloads: [flapping.workload] });
      await within(
        'traffic',
        more(() => answers, 5),
      );
    }
    stopping = true;
    await loops;
    expect(failures).toEqual([]);
  });

  it('a pod that is gone takes along what it carried before it left and came back', async () => {
    const back = await rig.addPod('back', { node: 'node-2' });
    await using _app = serve(back, port, echo);
    await rig.release(back, 'drain');
    await rig.capture(back);
    // Its earlier listeners still serve tunnels for a while: a fresh one each time, so that some lead there.
    const sockets = [];
    for (let i = 0; i < 16; i++) {
      await rig.renew(client.spiffeId);
      const socket = connectFrom(client, back.ipv4, port);
      expect(await roundTrip(socket)).toBe('ping');
      sockets.push(socket);
    }
    const ends = sockets.map(ending);
    await rig.release(back, 'now');
    expect(new Set(await Promise.all(ends))).toEqual(new Set(['ECONNRESET']));
    await rig.apply({ removed: { workloads: [back.workload.uid] } });
  });

  it('nodes that end leave no descriptor, program, map or link', async () => {
    const held = heldObjects();
    expect(held.programs.length).toBeGreaterThan(10);
    const socket = connectFrom(client, server.ipv4, port);
    expect(await roundTrip(socket)).toBe('ping');
    const end = ending(socket);
    await app[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
    expect(await end).toMatch(/ECONNRESET|end|close/);
    socket.destroy();
    await closed(socket);
    expect(await remaining(held)).toEqual({ programs: [], maps: [] });
    expect(openDescriptors()).toBeLessThanOrEqual(baseline);
  });
});

/** Entries in the `flows` map of each redirect: by what proc(5) says of this process's descriptors. */
function flowEntries(): number[] {
  const BPF_MAP_TYPE_LRU_HASH = 9;
  const counts: number[] = [];
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    const info = fdinfo(fd);
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(info)?.[1]);
    if (field('map_type') !== BPF_MAP_TYPE_LRU_HASH) continue;
    const map = new BpfMap('flows', Number(fd), { key: field('key_size'), value: field('value_size') });
    counts.push(map.keys(20_000).length);
  }
  return counts;
}

function fdinfo(fd: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
  } catch {
    return ''; // the descriptor of the directory being read
  }
}

async function allClosed(app: PodServer): Promise<void> {
  for (const socket of app.accepted) await closed(socket);
}

/** Resolves when `count` is `by` more than now. */
async function more(count: () => number, by: number): Promise<void> {
  const goal = count() + by;
  while (count() < goal) await turn();
}
