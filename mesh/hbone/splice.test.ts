// Byte streams through a pair of tunnels, application to application.

import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { H2Stream } from '../h2/stream.ts';
import { BufferBudget } from '../io/byte-queue.ts';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import { readAll, type Through, TunnelWorld, type WorldOptions } from './testing/tunnel-world.ts';
import { maxStreamWindow } from './tunnel-settings.ts';

const megabyte = 1024 * 1024;
const source = randomFillSync(Buffer.allocUnsafe(2 * megabyte));

let world: TunnelWorld;
let before: number;

beforeEach(() => {
  before = openDescriptors();
});

afterEach(async () => {
  await world.close();
  expect(world.errors).toEqual([]);
  expect(openDescriptors()).toBe(before);
});

async function start(options: WorldOptions = {}): Promise<void> {
  world = await TunnelWorld.create(options);
}

async function ended(...connections: Through[]): Promise<void> {
  await pump(world.reactor, 'both splices to end', () =>
    connections.every(({ inbound, outbound }) => inbound.end !== undefined && outbound.end !== undefined),
  );
}

/** Turns the loop until nothing moves any more. */
async function still(value: () => number): Promise<void> {
  let quiet = 0;
  let last = Number.NaN;
  await pump(world.reactor, 'everything to stand still', () => {
    quiet = value() === last ? quiet + 1 : 0;
    last = value();
    return quiet > 60;
  });
}

describe('a connection through two nodes', () => {
  it('half-closes in either order, everything before the end arrives', async () => {
    await start();
    for (const [first, second] of [
      ['client', 'app'],
      ['app', 'client'],
    ] as const) {
      const connection = await world.through();
      connection[first].end('from the first');
      const seen = await pumpUntil(world.reactor, 'the first end', readAll(connection[second]));
      expect([seen.bytes.toString(), seen.how]).toEqual(['from the first', 'end']);
      expect([connection.inbound.end, connection.outbound.end]).toEqual([undefined, undefined]);
      connection[second].end('and back');
      const back = await pumpUntil(world.reactor, 'the second end', readAll(connection[first]));
      expect([back.bytes.toString(), back.how]).toEqual(['and back', 'end']);
      await ended(connection);
      expect([connection.inbound.end, connection.outbound.end]).toEqual(['finished', 'finished']);
    }
    expect(world.pool.size).toBe(1);
    expect([...world.tunnels][0]?.session.openStreams).toBe(0);
  });

  it('carries a reset to the far application, in both directions', async () => {
    await start();
    for (const side of ['client', 'app'] as const) {
      const connection = await world.through();
      const far = readAll(connection[side === 'client' ? 'app' : 'client']);
      connection[side].resetAndDestroy();
      expect((await pumpUntil(world.reactor, 'the reset', far)).how).toBe('ECONNRESET');
      await ended(connection);
      const [near, other] =
        side === 'client'
          ? [connection.outbound, connection.inbound]
          : [connection.inbound, connection.outbound];
      expect([near.end, other.end]).toEqual(['app-reset', 'tunnel-reset']);
    }
    expect(world.tunnels.size).toBe(1);
  });

  it('notices a reset behind a half-close, when nothing is read any more', async () => {
    await start();
    const connection = await world.through();
    connection.client.end('request');
    await pumpUntil(world.reactor, 'the request', readAll(connection.app));
    connection.client.resetAndDestroy();
    await ended(connection);
    expect([connection.outbound.end, connection.inbound.end]).toEqual(['app-reset', 'tunnel-reset']);
    // The application was reset too: it can not write any more.
    const failed = once(connection.app, 'error') as Promise<[NodeJS.ErrnoException]>;
    connection.app.write('late');
    const [error] = await pumpUntil(world.reactor, 'the application to see it', failed);
    expect(['ECONNRESET', 'EPIPE']).toContain(error.code);
  });

  it('notices a reset of a sender that the far side does not read', async () => {
    await start();
    const connection = await world.through();
    connection.client.write(Buffer.alloc(30 * megabyte));
    await still(() => connection.outbound.splice.fromApp);
    connection.client.resetAndDestroy();
    await ended(connection);
    expect(connection.outbound.end).toBe('app-reset');
  });

  it('is cut with a reason that the other node can read', async () => {
    await start();
    const connection = await world.through();
    const seen = Promise.all([readAll(connection.client), readAll(connection.app)]);
    // As a policy change does: the reason first, then the cut.
    const [tunnel] = world.tunnels;
    tunnel?.explain({ id: 1 } as H2Stream, 'denied by shop/only-web');
    connection.inbound.splice.close();
    expect((await pumpUntil(world.reactor, 'both', seen)).map(({ how }) => how)).toEqual([
      'ECONNRESET',
      'ECONNRESET',
    ]);
    await ended(connection);
    expect([connection.inbound.end, connection.outbound.end]).toEqual(['closed', 'tunnel-reset']);
    expect(connection.outbound.reason).toBe('denied by shop/only-web');
  });

  it('shows control characters in the reason of a stranger as question marks', async () => {
    await start();
    const connection = await world.through();
    const [tunnel] = world.tunnels;
    tunnel?.session.sendExtension(1, Buffer.from('one\r\nlevel=error two\x1b[2J\u00e9'));
    connection.inbound.splice.close();
    await ended(connection);
    expect(connection.outbound.reason).toMatch(/^one\?\?level=error two\?\[2J\?+$/);
  });

  it('a slow reader stops itself, not its neighbour, and holds no more than its window', async () => {
    await start();
    const slow = await world.through();
    const fast = await world.through();
    slow.app.write(Buffer.alloc(40 * megabyte));
    await still(() => slow.inbound.splice.fromApp);
    expect(slow.outbound.splice.buffered).toBeGreaterThan(0);
    expect(slow.outbound.splice.buffered).toBeLessThanOrEqual(maxStreamWindow);
    expect(world.budget.used).toBeLessThan(maxStreamWindow + 128 * 1024);
    const before = slow.inbound.splice.fromApp;
    const bytes = Buffer.concat([source, source, source, source]);
    const seen = readAll(fast.client);
    fast.app.end(bytes);
    const got = await pumpUntil(world.reactor, 'the fast one', seen);
    expect(got.bytes.equals(bytes)).toBe(true);
    expect(slow.inbound.splice.fromApp).toBe(before);
    // And the slow one gets everything once it reads.
    let total = 0;
    slow.client.on('data', (chunk: Buffer) => {
      total += chunk.length;
    });
    slow.client.resume();
    await pump(world.reactor, 'the slow one', () => total === 40 * megabyte);
    expect(world.budget.used).toBe(0);
    expect(world.pool.size).toBe(1);
  });

  it('1 GB in four streams arrives unchanged, in pieces of random size, with pauses', async () => {
    await start();
    const each = 256 * megabyte;
    const connections: Through[] = [];
    for (let i = 0; i < 4; i++) connections.push(await world.through());
    const done = connections.map(async ({ client, app }, i) => {
      // Two streams each way, so that both sides send and receive.
      const [from, to] = i % 2 === 0 ? [client, app] : [app, client];
      const [sent, got] = await Promise.all([send(from, each, i + 1), drain(to)]);
      expect(got).toEqual({ bytes: each, hash: sent });
      to.end();
    });
    await pumpUntil(world.reactor, '1 GB', Promise.all(done), 60_000);
    await ended(...connections);
    expect(connections.map(({ outbound }) => outbound.end)).toEqual(Array(4).fill('finished'));
  }, 70_000);

  it('ends after the idle time, not while bytes move', async () => {
    await start({ splice: { idleTimeoutMs: 60 } });
    const connection = await world.through();
    const seen = readAll(connection.client);
    let echoes = 0;
    connection.app.on('data', () => {
      echoes++;
    });
    connection.app.resume();
    for (let i = 0; i < 5; i++) {
      let passed = false;
      world.reactor.after(30, () => {
        passed = true;
      });
      connection.client.write('.');
      await pump(world.reactor, 'half of the idle time', () => passed && echoes === i + 1);
    }
    expect((await pumpUntil(world.reactor, 'the timeout', seen)).how).toBe('ECONNRESET');
    await ended(connection);
    expect([connection.inbound.end, connection.outbound.end]).toContain('idle');
  });

  it('does not stay half-closed longer than allowed', async () => {
    await start({ splice: { halfClosedTimeoutMs: 40 } });
    const connection = await world.through();
    connection.client.end('bye');
    await pumpUntil(world.reactor, 'the end', readAll(connection.app));
    await ended(connection);
    expect([connection.inbound.end, connection.outbound.end]).toContain('idle');
  });

  it('is given up when the budget for slow readers is spent, the neighbour lives', async () => {
    await start();
    const neighbour = await world.through();
    const slow = await world.through({ budget: new BufferBudget(64 * 1024) });
    slow.app.write(Buffer.alloc(30 * megabyte));
    await ended(slow);
    expect([slow.outbound.end, slow.inbound.end]).toEqual(['overload', 'tunnel-reset']);
    neighbour.client.end('alive');
    expect((await pumpUntil(world.reactor, 'the neighbour', readAll(neighbour.app))).bytes.toString()).toBe(
      'alive',
    );
  });

  it('that the tunnel is lost under ends with a reset at both applications', async () => {
    await start();
    const connections = [await world.through(), await world.through()];
    const seen = Promise.all(connections.flatMap(({ client, app }) => [readAll(client), readAll(app)]));
    for (const tunnel of world.tunnels) tunnel.destroy();
    const how = (await pumpUntil(world.reactor, 'all four', seen)).map((each) => each.how);
    expect(how).toEqual(Array(4).fill('ECONNRESET'));
    await ended(...connections);
    await pump(world.reactor, 'the pool to let go', () => world.pool.size === 0);
  });
});

/** Writes `total` bytes in pieces of 1 byte to 1 MiB, now and then pausing for some turns; ends. Returns the hash. */
async function send(socket: Socket, total: number, seed: number): Promise<string> {
  const hash = createHash('sha1');
  let state = seed;
  const random = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  for (let left = total; left > 0; ) {
    const length = Math.min(left, 1 + Math.floor(random() ** 3 * megabyte));
    const offset = Math.floor(random() * megabyte);
    const piece = source.subarray(offset, offset + length);
    hash.update(piece);
    left -= length;
    if (!socket.write(piece)) await once(socket, 'drain');
    for (let pause = random() < 0.02 ? 5 : 0; pause > 0; pause--) await new Promise(setImmediate);
  }
  socket.end();
  return hash.digest('hex');
}

async function drain(socket: Socket): Promise<{ bytes: number; hash: string }> {
  const hash = createHash('sha1');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  socket.resume();
  await once(socket, 'end');
  return { bytes, hash: hash.digest('hex') };
}
