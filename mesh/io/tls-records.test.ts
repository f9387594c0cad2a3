// What our TLS connection makes of records that are larger than what is in them: it counts what OpenSSL still holds
// instead of asking after each record.

import koffi from 'koffi';
import { describe, expect, it } from 'vitest';
import { seeded } from '../runtime/testing/seeded.ts';
import { HEAD_ROOM, Slab } from './slab.ts';
import { TestAuthority } from './testing/authority.ts';
import { pump } from './testing/pump.ts';
import { dialTls, serveTls, type TlsPeer } from './testing/tls-peer.ts';
import { tlsWorld } from './testing/tls-world.ts';
import { TlsContext } from './tls-context.ts';

const padTo = koffi.load(null).func('int SSL_CTX_set_block_padding(uintptr_t ctx, size_t block)') as (
  context: number,
  block: number,
) => number;

const world = tlsWorld();

/** A client whose records are padded to multiples of `block` bytes (RFC 8446 section 5.4), and its server. */
async function paddedPair(block: number): Promise<[TlsPeer, TlsPeer]> {
  const authority = await TestAuthority.create();
  const credentials = await authority.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] });
  const serverContext = new TlsContext('server', credentials);
  const clientContext = new TlsContext('client', credentials);
  world.contexts.push(serverContext, clientContext);
  expect(padTo(clientContext.pointer, block)).toBe(1);
  const server = serveTls(world.reactor, () => serverContext);
  const dialled = dialTls(world.reactor, server.port, clientContext);
  await pump(world.reactor, 'up', () => dialled[0]?.state === 'up' && server.peers[0]?.state === 'up');
  server.close();
  return [dialled[0] as TlsPeer, server.peers[0] as TlsPeer];
}

describe('a TLS connection whose peer pads its records', () => {
  it('hands on each message when it has come, alone or with others', async () => {
    const [client, server] = await paddedPair(512);
    const message = new Slab(HEAD_ROOM + 8_192);
    let got = 0;
    server.onBytes = (bytes) => (got += bytes.length);
    const random = seeded(7);
    for (let wanted = 0, round = 0; round < 300; round++) {
      for (let burst = 1 + Math.floor(random() * 6); burst > 0; burst--) {
        const length = 1 + Math.floor(random() ** 3 * 8_000);
        client.connection.write(message, HEAD_ROOM, length);
        wanted += length;
      }
      client.connection.flush();
      await pump(world.reactor, `message ${round}`, () => got === wanted);
    }
    client.connection.end();
    await pump(world.reactor, 'the end', () => client.ends + server.ends === 2);
  });
});
