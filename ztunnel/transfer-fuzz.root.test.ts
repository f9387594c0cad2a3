// Random transfers between pods of two nodes, as applications see them: through a tunnel between the nodes, through the
// proxy of one node, and from outside the mesh in plaintext. For longer runs see fuzz-run.ts.

import type net from 'node:net';
import { expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { fuzz, fuzzTimeoutMs } from '../mesh/io/testing/fuzz-run.ts';
import { openDescriptors } from '../mesh/io/testing/leaks.ts';
import { planTransfer, runTransfer } from '../mesh/io/testing/random-transfer.ts';
import { seeded } from '../mesh/runtime/testing/seeded.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import { connectFrom, serve, within } from './testing/pod-sockets.ts';

const port = 8080;
const limitMs = 60_000;

it.skipIf(skipKernelTests)(
  `carries random transfers between pods unchanged, and nothing stays open${skipReason}`,
  { timeout: fuzzTimeoutMs },
  async () => {
    // What the process keeps once it was opened: the file of its own network namespace.
    await withWorld(() => Promise.resolve());
    const before = openDescriptors();
    await withWorld((world) => fuzz((seed) => runSeed(seed, world), { seedsInCi: 6 }));
    expect(openDescriptors()).toBe(before);
  },
);

interface World {
  readonly rig: DataPlaneRig;
  readonly server: RigPod;
  readonly clients: readonly RigPod[];
}

async function withWorld(use: (world: World) => Promise<void>): Promise<void> {
  await using rig = await DataPlaneRig.open();
  const server = await rig.addPod('server', { node: 'node-2' });
  const clients = [
    await rig.addPod('far', { node: 'node-1' }),
    await rig.addPod('near', { node: 'node-2' }),
    await rig.addPod('outside', { node: 'node-1', enrolled: false }),
  ];
  await use({ rig, server, clients });
  for (const node of rig.nodes) expect(node.problems).toEqual([]);
}

async function runSeed(seed: number, { rig, server, clients }: World): Promise<string[]> {
  const random = seeded(seed);
  /** By the client's address and port, which the application sees. */
  const accepted = new Map<string, (socket: net.Socket) => void>();
  await using _server = serve(server, port, (socket) => {
    accepted.get(`${socket.remoteAddress} ${socket.remotePort}`)?.(socket);
  });
  const transfers = Array.from({ length: 1 + Math.floor(random() * 10) }, async () => {
    const plan = planTransfer(random);
    const from = clients[Math.floor(random() * clients.length)] as RigPod;
    const client = connectFrom(from, random() < 0.5 ? server.ipv4 : server.ipv6, port);
    const found = new Promise<net.Socket>((resolve) => {
      accepted.set(`${client.localAddress} ${client.localPort}`, resolve);
    });
    const application = await within('the application to accept', found);
    const problems = await runTransfer(plan, { client, server: application });
    client.destroy();
    return problems.map((problem) => `from ${from.name}: ${problem}`);
  });
  const problems = await within(`the transfers of seed ${seed}`, Promise.all(transfers), limitMs);
  await Promise.all(rig.nodes.map((node) => node.idle()));
  return problems.flat();
}
