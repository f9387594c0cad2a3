// What our TLS connection makes of records that are larger than what is in them: it counts what OpenSSL still holds
// instead of asking after each record.

import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seeded } from '../runtime/testing/seeded.ts';
import { Reactor } from './reactor.ts';
import { HEAD_ROOM, Slab } from './slab.ts';
import { TestAuthority } from './testing/authority.ts';
import { openDescriptors } from './testing/leaks.ts';
import { pump } from './testing/pump.ts';
import { dialTls, serveTls, type TlsPeer } from './testing/tls-peer.ts';
import { TlsContext } from './tls-context.ts';

const padTo = koffi.load(null).func('int SSL_CTX_set_block_padding(uintptr_t ctx, size_t block)') as (
  context: number,
  block: number,
) => number;

let reactor: Reactor;
let before: number;
let contexts: TlsContext[];

beforeEach(() => {
  before = openDescriptors();
  contexts = [];
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
});

afterEach(() => {
  for (const context of contexts) context[Symbol.dispose]();
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

/** A client whose records are padded to multiples of `block` bytes (RFC 8446 section 5.4), and its server. */
async function paddedPair(block: number): Promise<[TlsPeer, TlsPeer]> {
  const authority = await TestAuthority.create();
  const credentials = await authority.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] });
  const serverContext = new TlsContext('server', credentials);
  const clientContext = new TlsContext('client', credentials);
  contexts.push(serverContext, clientContext);
  expect(padTo(clientContext.pointer, block)).toBe(1);
  const server = serveTls(reactor, () => serverContext);
  const dialled = dialTls(reactor, server.port, clientContext);
  await pump(reactor, 'up', () => dialled[0]?.state === 'up' && server.peers[0]?.state === 'up');
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
      await pump(reactor, `message ${round}`, () => got === wanted);
    }
    client.connection.end();
    await pump(reactor, 'the end', () => client.ends + server.ends === 2);
  });
});
