// Bytes through two nodes, as two applications see them: nothing lost, nothing changed, ends and resets carried over,
// one slow reader never a slow tunnel.

import { once } from 'node:events';
import type net from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { DataPlaneRig, type RigPod, tunnelsFrom } from './testing/data-plane-rig.ts';
import { connectFrom, ending, FullQueue, readAll, roundTrip, serve, within } from './testing/pod-sockets.ts';

const port = 8080;
const halfGigabyte = 512 * 1024 * 1024;

/** Repeatable, so that a failure can be looked into. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const pool = Buffer.alloc(2 * 1024 * 1024);
for (let i = 0, random = randomFrom(7); i < pool.length; i += 4) pool.writeUInt32LE(random() * 2 ** 32, i);

/** Sends `total` bytes in chunks of 1 byte to 512 KiB with pauses, then ends. Returns their checksum. */
async function sendRandomly(socket: net.Socket, total: number, seed: number): Promise<number> {
  const random = randomFrom(seed);
  let checksum = 0;
  for (let left = total; left > 0; ) {
    const size = random() < 0.1 ? 1 + Math.floor(random() * 100) : 1 + Math.floor(random() * 512 * 1024);
    const from = Math.floor(random() * (pool.length - size));
    const chunk = pool.subarray(from, from + Math.min(size, left));
    left -= chunk.length;
    checksum = crc32(chunk, checksum);
    if (!socket.write(chunk)) await once(socket, 'drain');
    if (random() < 0.05) await turn();
  }
  socket.end();
  return checksum;
}

/** Reads to the end, with pauses. */
async function receive(socket: net.Socket, seed: number): Promise<{ length: number; checksum: number }> {
  const random = randomFrom(seed);
  let length = 0;
  let checksum = 0;
  socket.on('data', (chunk: Buffer) => {
    length += chunk.length;
    checksum = crc32(chunk, checksum);
    if (random() < 0.01) {
      socket.pause();
      setTimeout(() => socket.resume(), 2);
    }
  });
  await once(socket, 'end');
  return { length, checksum };
}

describe.skipIf(skipKernelTests)(`a byte stream through two nodes${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let server: RigPod;

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client', { node: 'node-1' });
    server = await rig.addPod('server', { node: 'node-2' });
  });

  afterAll(async () => {
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  it('carries 1 GB with random chunk sizes and pauses, half of it each way at once', {
    timeout: 120_000,
  }, async () => {
    const sent: Promise<number>[] = [];
    const received: ReturnType<typeof receive>[] = [];
    await using _server = serve(server, port, (socket) => {
      sent.push(sendRandomly(socket, halfGigabyte, 1));
      received.push(receive(socket, 2));
    });
    const socket = connectFrom(client, server.ipv4, port);
    const there = sendRandomly(socket, halfGigabyte, 3);
    const back = await receive(socket, 4);
    expect(back).toEqual({ length: halfGigabyte, checksum: await sent[0] });
    expect(await received[0]).toEqual({ length: halfGigabyte, checksum: await there });
    const line = await client.node.logLine(/connection complete.*direction="outbound"/);
    expect(line).toContain(`bytes_sent=${halfGigabyte} bytes_recv=${halfGigabyte}`);
    expect(line).not.toContain('error=');
    expect(line).toContain(`dst.hbone_addr=${server.ipv4}:${port}`);
  });

  it.each(['ipv4', 'ipv6'] as const)(
    'keeps the other direction open after the client has ended its own (%s)',
    async (family) => {
      await using _server = serve(server, port, (socket) => {
        const answer = (request: Buffer) => socket.end(`${request.length} bytes, all of them after your end`);
        void readAll(socket).then(answer);
      });
      const socket = connectFrom(client, server[family], port);
      socket.end(pool.subarray(0, 300_000));
      expect((await readAll(socket)).toString()).toBe('300000 bytes, all of them after your end');
    },
  );

  it('keeps the other direction open after the server has ended its own', async () => {
    const got = Promise.withResolvers<Buffer>();
    await using _server = serve(server, port, (socket) => {
      socket.end('all I have');
      void readAll(socket).then(got.resolve, got.reject);
    });
    const socket = connectFrom(client, server.ipv4, port);
    expect((await readAll(socket)).toString()).toBe('all I have');
    socket.end('and still you hear me');
    expect((await got.promise).toString()).toBe('and still you hear me');
    await Promise.all(rig.nodes.map((node) => node.idle()));
  });

  it('carries a reset of the client to the server', async () => {
    const ended = Promise.withResolvers<string>();
    await using _server = serve(server, port, (socket) => {
      socket.write('hello');
      void ending(socket).then(ended.resolve, ended.reject);
    });
    const from = client.node.log.length;
    const socket = connectFrom(client, server.ipv4, port);
    await once(socket, 'data');
    socket.resetAndDestroy();
    expect(await ended.promise).toBe('ECONNRESET');
    await client.node.logLine(/error="the application reset its connection"/, from);
  });

  it('carries a reset of the server to the client', async () => {
    await using _server = serve(server, port, (socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const socket = connectFrom(client, server.ipv4, port);
    socket.write('reset me');
    expect(await ending(socket)).toBe('ECONNRESET');
  });

  it('lets a fast reader pass a slow one in the same tunnel, and holds little for the slow one', async () => {
    const many = 64 * 1024 * 1024;
    const sending: { socket: net.Socket; checksum: Promise<number> }[] = [];
    await using _server = serve(server, port, (socket) => {
      sending.push({ socket, checksum: sendRandomly(socket, many, 11) });
    });
    const slow = connectFrom(client, server.ipv4, port);
    await within('the first bytes', once(slow, 'readable'));
    const fast = connectFrom(client, server.ipv4, port);
    const quick = await receive(fast, 12);
    expect(quick).toEqual({ length: many, checksum: await sending[1]?.checksum });
    const toSlow = sending[0]?.socket;
    const taken = (toSlow?.bytesWritten ?? 0) - (toSlow?.writableLength ?? 0);
    // Socket buffers of four sockets and the stream's window; far from all of it.
    expect(taken).toBeLessThan(32 * 1024 * 1024);
    expect(tunnelsFrom(client, server)).toBe(1);
    expect(await receive(slow, 13)).toEqual({ length: many, checksum: await sending[0]?.checksum });
    for (const socket of [slow, fast]) socket.end();
  });

  it('lets the client go away while the application does not accept yet', async () => {
    await using queue = new FullQueue(server, 9_100);
    const from = server.node.log.length;
    const socket = connectFrom(client, server.ipv4, 9_100);
    socket.write('is anybody there');
    await within('the request to arrive', tracked(server));
    socket.resetAndDestroy();
    queue.accept();
    await Promise.all(rig.nodes.map((node) => node.idle()));
    await server.node.logLine(/9100/, from);
  });

  it('joins with an application that accepts late', async () => {
    await using queue = new FullQueue(server, 9_101);
    const socket = connectFrom(client, server.ipv4, 9_101);
    const answer = roundTrip(socket, 'patience');
    await within('the request to arrive', tracked(server));
    queue.accept();
    expect(await answer).toBe('patience');
    socket.destroy();
  });

  it('resets a connection whose application refuses, and says so on both sides', async () => {
    const socket = connectFrom(client, server.ipv4, 9_102);
    socket.write('anybody');
    expect(await ending(socket)).toBe('ECONNRESET');
    expect(await server.node.logLine(/9102.*the application refused/)).toContain('direction="inbound"');
    const line = await client.node.logLine(/status 503: the application refused/);
    expect(line).toMatch(/Connection refused/i);
  });

  /** Resolves when the pod's node tracks an inbound connection. */
  async function tracked(pod: RigPod): Promise<void> {
    for (;;) {
      const open = await pod.node.connections();
      if (open.some(({ direction }) => direction === 'inbound')) return;
      await turn();
    }
  }
});
