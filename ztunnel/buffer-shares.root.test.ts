// The cap on what slow readers hold, reached on purpose: who reaches it loses connections of its own, a neighbour on the
// same node none, and all is there again afterwards.

import { once } from 'node:events';
import type net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import { connectFrom, ending, readAll, serve, within } from './testing/pod-sockets.ts';

const port = 8080;
const megabyte = 1024 * 1024;
const pieces = Buffer.alloc(megabyte, 'x');

describe.skipIf(skipKernelTests)(`buffers of slow readers${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let slow: RigPod;
  let neighbour: RigPod;

  beforeAll(async () => {
    // Half of it is less than the windows of those who flood, and half of that more than any window of one stream.
    rig = await DataPlaneRig.open({ bufferBudgetBytes: 24 * megabyte });
    client = await rig.addPod('client', { node: 'node-1' });
    slow = await rig.addPod('slow', { node: 'node-2' });
    neighbour = await rig.addPod('neighbour', { node: 'node-2' });
  });

  afterAll(async () => {
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  it('a pod that reaches its share loses the connection that did, its neighbour loses nothing', async () => {
    await using unread = serve(slow, port, (socket) => socket.pause());
    await using _read = serve(neighbour, port, (socket) => void readSlowly(socket));
    const from = slow.node.log.length;
    const flooding = Array.from({ length: 48 }, () => flood(connectFrom(client, slow.ipv4, port)));
    const line = await slow.node.logLine(/share of this proxy's buffers is spent/, from);
    expect(line).toContain('direction="inbound"');
    expect(await within('a connection to be reset', Promise.race(flooding))).toBe('ECONNRESET');
    // While the other one's share is spent.
    const socket = connectFrom(client, neighbour.ipv4, port);
    for (let i = 0; i < 8; i++) if (!socket.write(pieces)) await once(socket, 'drain');
    socket.end();
    expect((await readAll(socket)).toString()).toBe(`${8 * megabyte}`);
    for (const socket_ of unread.accepted) socket_.destroy();
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  it('afterwards the pod has its share again', async () => {
    await using _server = serve(slow, port, (socket) => void readSlowly(socket));
    const socket = connectFrom(client, slow.ipv4, port);
    socket.end(pieces);
    expect((await readAll(socket)).toString()).toBe(`${megabyte}`);
  });
});

/** Sends until the connection ends; how it ended. */
function flood(socket: net.Socket): Promise<string> {
  const write = (): void => {
    while (!socket.destroyed && socket.write(pieces));
  };
  socket.on('drain', write);
  write();
  return ending(socket);
}

/** Answers with the number of bytes that came. */
async function readSlowly(socket: net.Socket): Promise<void> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    socket.pause();
    setImmediate(() => socket.resume());
  });
  await once(socket, 'end');
  socket.end(`${bytes}`);
}
