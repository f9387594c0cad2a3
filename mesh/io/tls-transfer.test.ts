// Bulk over our TLS connections: order and content under random sizes, and a peer that does not read.

import { createHash, type Hash, randomFillSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { seeded } from '../runtime/testing/seeded.ts';
import { Slab } from './slab.ts';
import { TestAuthority } from './testing/authority.ts';
import { pump } from './testing/pump.ts';
import { dialTls, serveTls, type TlsPeer } from './testing/tls-peer.ts';
import { tlsWorld } from './testing/tls-world.ts';
import { TlsContext } from './tls-context.ts';

const megabyte = 1024 * 1024;
const source = new Slab(megabyte);
randomFillSync(source.bytes);

const world = tlsWorld();

async function pair(): Promise<[TlsPeer, TlsPeer]> {
  const authority = await TestAuthority.create();
  const credentials = await authority.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] });
  const serverContext = new TlsContext('server', credentials);
  const clientContext = new TlsContext('client', credentials);
  world.contexts.push(serverContext, clientContext);
  const server = serveTls(world.reactor, () => serverContext);
  const dialled = dialTls(world.reactor, server.port, clientContext);
  await pump(world.reactor, 'up', () => dialled[0]?.state === 'up' && server.peers[0]?.state === 'up');
  server.close();
  return [dialled[0] as TlsPeer, server.peers[0] as TlsPeer];
}

/** Writes `total` bytes in pieces of random size as there is room, and hashes them. */
class Writer {
  readonly hash: Hash = createHash('sha256');
  left: number;
  #peer: TlsPeer;
  #random: () => number;

  constructor(peer: TlsPeer, total: number, random: () => number) {
    this.#peer = peer;
    this.left = total;
    this.#random = random;
    peer.onWritable = () => this.go();
  }

  go(): void {
    const { connection } = this.#peer;
    while (this.left > 0) {
      const room = connection.room();
      if (room === 0) {
        connection.flush();
        if (connection.room() === 0) return;
        continue;
      }
      const offset = Math.floor(this.#random() * (source.bytes.length / 2));
      // Tiny, ordinary and huge pieces alike.
      const wish = 1 + Math.floor(this.#random() ** 4 * 300_000);
      const length = Math.min(wish, room, this.left);
      connection.write(source, offset, length);
      this.hash.update(source.bytes.subarray(offset, offset + length));
      this.left -= length;
    }
    connection.flush();
  }
}

function receive(peer: TlsPeer): { bytes: number; hash: Hash } {
  const got = { bytes: 0, hash: createHash('sha256') };
  peer.onBytes = (bytes) => {
    got.bytes += bytes.length;
    got.hash.update(bytes);
  };
  return got;
}

describe('a TLS connection', () => {
  it('carries 100 MB each way at once, unchanged, in writes of random size', async () => {
    const [client, server] = await pair();
    const total = 100 * megabyte;
    const atServer = receive(server);
    const atClient = receive(client);
    const up = new Writer(client, total, seeded(1));
    const down = new Writer(server, total, seeded(2));
    up.go();
    down.go();
    await pump(
      world.reactor,
      'all bytes',
      () => atServer.bytes === total && atClient.bytes === total,
      25_000,
    );
    expect(atServer.hash.digest('hex')).toBe(up.hash.digest('hex'));
    expect(atClient.hash.digest('hex')).toBe(down.hash.digest('hex'));
    client.connection.end();
    await pump(world.reactor, 'the end', () => client.ends + server.ends === 2);
    expect([client.error, server.error]).toEqual([undefined, undefined]);
  });

  it('has no room while its peer does not read, takes nothing more, and recovers', async () => {
    const [client, server] = await pair();
    // Off the loop: nobody reads.
    world.reactor.unregister(server.connection.fd);
    const total = 20 * megabyte;
    const writer = new Writer(client, total, seeded(3));
    writer.go();
    let quiet = 0;
    let last = -1;
    await pump(world.reactor, 'everything full', () => {
      quiet = writer.left === last ? quiet + 1 : 0;
      last = writer.left;
      return quiet > 50;
    });
    expect(writer.left).toBeGreaterThan(0);
    expect(client.connection.room()).toBe(0);
    const got = receive(server);
    world.reactor.register(server.connection.fd, server.connection);
    await pump(world.reactor, 'the rest', () => got.bytes === total);
    expect(got.hash.digest('hex')).toBe(writer.hash.digest('hex'));
    expect(client.writable).toBeGreaterThan(0);
    expect(client.connection.room()).toBeGreaterThan(100_000);
    client.connection.destroy();
    await pump(world.reactor, 'the end', () => client.ends + server.ends === 2);
  });

  it('ends within its deadline although the peer never reads', async () => {
    const [client, server] = await pair();
    world.reactor.unregister(server.connection.fd);
    const writer = new Writer(client, 20 * megabyte, seeded(4));
    writer.go();
    client.connection.end();
    await pump(world.reactor, 'the end of the client', () => client.ends === 1);
    expect(client.error).toBeUndefined();
    server.connection.destroy();
  });
});
