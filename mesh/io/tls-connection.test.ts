// Handshakes and ends of our TLS connections on loopback, against each other and against node:tls.

import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import * as tls from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Identity } from '../model/spiffe-id.ts';
import { Reactor } from './reactor.ts';
import { Slab } from './slab.ts';
import { clientAuth, serverAuth, TestAuthority } from './testing/authority.ts';
import { openDescriptors, residentBytes } from './testing/leaks.ts';
import { pump, pumpUntil } from './testing/pump.ts';
import { dialTls, type PeerOptions, serveTls, type TlsPeer } from './testing/tls-peer.ts';
import * as libc from './libc.ts';
import { TlsContext, type TlsCredentials } from './tls-context.ts';

const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const apiId = 'spiffe://cluster.local/ns/shop/sa/api';

let authority: TestAuthority;
let foreign: TestAuthority;
let web: TlsCredentials;
let api: TlsCredentials;
let reactor: Reactor;
let contexts: TlsContext[];
let sockets: Socket[];
let closers: (() => void)[];
let before: number;

beforeAll(async () => {
  authority = await TestAuthority.create();
  foreign = await TestAuthority.create('another mesh');
  web = await authority.issue({ uris: [webId] });
  api = await authority.issue({ uris: [apiId] });
});

beforeEach(() => {
  before = openDescriptors();
  contexts = [];
  sockets = [];
  closers = [];
  reactor = new Reactor({
    onError: (error) => {
      throw error;
    },
  });
});

afterEach(async () => {
  for (const close of closers) close();
  const open = sockets.filter((socket) => !socket.closed).map((socket) => closed(socket));
  for (const socket of sockets) socket.destroy();
  await Promise.all(open);
  for (const context of contexts) context[Symbol.dispose]();
  reactor[Symbol.dispose]();
  expect(openDescriptors()).toBe(before);
});

function context(role: 'client' | 'server', credentials: TlsCredentials): TlsContext {
  const made = new TlsContext(role, credentials);
  contexts.push(made);
  return made;
}

function serve(credentials: TlsCredentials = api, options: PeerOptions = {}) {
  const made = context('server', credentials);
  const server = serveTls(reactor, () => made, options);
  closers.push(server.close);
  return server;
}

/** A pair of ours; resolves when both handshakes have come to an end. */
async function pair(options: {
  client?: TlsCredentials;
  server?: TlsCredentials;
  atClient?: PeerOptions;
  atServer?: PeerOptions;
}): Promise<{ client: TlsPeer; server: TlsPeer }> {
  const { port, peers } = serve(options.server, options.atServer);
  const dialled = dialTls(reactor, port, context('client', options.client ?? web), options.atClient);
  await pump(
    reactor,
    'both handshakes',
    () => [...dialled, ...peers].filter(({ state }) => state !== 'handshake').length === 2,
  );
  return { client: dialled[0] as TlsPeer, server: peers[0] as TlsPeer };
}

/** Drops a connection from both ends. */
async function drop(...peers: TlsPeer[]): Promise<void> {
  for (const { connection } of peers) connection.destroy();
  await pump(reactor, 'all closed', () => peers.every(({ ends }) => ends === 1));
}

/** A node:tls client of our server; what became of it. */
async function nodeClient(
  port: number,
  options: tls.ConnectionOptions,
): Promise<{ error: string; up: boolean }> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
    ca: authority.rootPem,
    ...options,
  });
  sockets.push(socket);
  let up = false;
  let error = '';
  socket.on('secureConnect', () => {
    up = true;
  });
  socket.on('error', (cause: NodeJS.ErrnoException) => {
    error = cause.code ?? cause.message;
  });
  socket.resume();
  await pumpUntil(reactor, 'the node:tls client to end', closed(socket));
  return { error, up };
}

describe('a handshake', () => {
  it('tells each side the identity of the other, and agrees on X25519MLKEM768', async () => {
    const { client, server } = await pair({});
    expect([client.state, server.state]).toEqual(['up', 'up']);
    expect(client.identities).toEqual([apiId]);
    expect(server.identities).toEqual([webId]);
    expect(client.connection.groupName()).toBe('X25519MLKEM768');
    expect(server.connection.groupName()).toBe('X25519MLKEM768');
    await drop(client, server);
    expect(client.connection.groupName()).toBe('');
  });

  it('agrees on X25519 with a classic peer, in both roles', async () => {
    const server = serve();
    const socket = tls.connect({
      ...nodeCredentials(web),
      host: '127.0.0.1',
      port: server.port,
      ALPNProtocols: ['h2'],
      ecdhCurve: 'X25519',
      checkServerIdentity: () => undefined,
    });
    sockets.push(socket.on('error', () => {}));
    await pump(reactor, 'up', () => server.peers[0]?.state === 'up');
    const accepted = server.peers[0] as TlsPeer;
    expect(accepted.connection.groupName().toLowerCase()).toBe('x25519');
    expect(socket.alpnProtocol).toBe('h2');
    expect(socket.getProtocol()).toBe('TLSv1.3');
    accepted.connection.destroy();

    const node = tls.createServer({
      ...nodeCredentials(api),
      requestCert: true,
      ALPNProtocols: ['h2'],
      ecdhCurve: 'X25519',
    });
    const seen: tls.TLSSocket[] = [];
    node.on('secureConnection', (each) => {
      seen.push(each);
      sockets.push(each.on('error', () => {}));
    });
    node.listen(0, '127.0.0.1');
    await once(node, 'listening');
    const dialled = dialTls(reactor, (node.address() as AddressInfo).port, context('client', web));
    await pump(reactor, 'both up', () => dialled[0]?.state === 'up' && seen.length === 1);
    expect(dialled[0]?.connection.groupName().toLowerCase()).toBe('x25519');
    expect(dialled[0]?.identities).toEqual([apiId]);
    expect(seen[0]?.getPeerCertificate().subjectaltname).toBe(`URI:${webId}`);
    // No name is sent: it would be an address (WIRE 1.1).
    expect((seen[0] as unknown as { servername: unknown }).servername).toBe(false);
    dialled[0]?.connection.destroy();
    node.close();
  });

  it('is never a resumption, and the server offers none', async () => {
    const { port, peers } = serve();
    const sessions: Buffer[] = [];
    const socket = tls.connect({
      ...nodeCredentials(web),
      host: '127.0.0.1',
      port,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    });
    sockets.push(socket.on('error', () => {}));
    socket.on('session', (session) => sessions.push(session));
    await pump(reactor, 'up', () => peers[0]?.state === 'up');
    const peer = peers[0] as TlsPeer;
    write(peer, Buffer.from('any byte, behind which a ticket would have come'));
    await pumpUntil(reactor, 'data', once(socket, 'data'));
    expect(sessions).toEqual([]);
    expect(socket.isSessionReused()).toBe(false);
    peer.connection.destroy();
  });

  it.each([
    ['no certificate', async () => ({}), 'peer did not return a certificate'],
    [
      'an expired certificate',
      async () =>
        nodeCredentials(await authority.issue({ uris: [webId], notBeforeMs: -90_000, notAfterMs: -60_000 })),
      'peer certificate: certificate has expired',
    ],
    [
      'a certificate of the future',
      async () => nodeCredentials(await authority.issue({ uris: [webId], notBeforeMs: 3_600_000 })),
      'peer certificate: certificate is not yet valid',
    ],
    [
      'a certificate of a foreign root',
      async () => nodeCredentials(await foreign.issue({ uris: [webId] })),
      'peer certificate: unable to get local issuer certificate',
    ],
    [
      'a certificate for servers only',
      async () => nodeCredentials(await authority.issue({ uris: [webId], usages: [serverAuth] })),
      'peer certificate: unsuitable certificate purpose',
    ],
    [
      'TLS 1.2',
      async () => ({ ...nodeCredentials(web), maxVersion: 'TLSv1.2' as const }),
      'unsupported protocol',
    ],
    [
      'no ALPN protocol',
      async () => ({ ...nodeCredentials(web), ALPNProtocols: [] as string[] }),
      'the peer does not speak h2 (ALPN)',
    ],
    [
      'another ALPN protocol',
      async () => ({ ...nodeCredentials(web), ALPNProtocols: ['http/1.1', 'h3'] }),
      'no application protocol',
    ],
  ])('is refused to a client with %s', async (_what, options, reason) => {
    const { port, peers } = serve();
    const { ca: _ca, ...given } = (await options()) as tls.ConnectionOptions;
    const seen = await nodeClient(port, given);
    await pump(reactor, 'the server to see it', () => peers[0]?.ends === 1);
    expect(peers[0]?.state).toBe('failed');
    expect(peers[0]?.error?.code).toBe('tls-handshake-failed');
    expect(peers[0]?.error?.message).toMatch(/^TLS handshake failed: /);
    expect(peers[0]?.error?.message).toContain(reason);
    // Without ALPN the handshake itself succeeds; the connection just ends behind it.
    expect(seen.error === '').toBe(reason.endsWith('(ALPN)'));
  });

  it('accepts a leaf for both usages', async () => {
    const both = await authority.issue({ uris: [webId], usages: [clientAuth, serverAuth] });
    const { client, server } = await pair({ client: both, server: both });
    expect([client.state, server.state]).toEqual(['up', 'up']);
    await drop(client, server);
  });

  it('gives a client without SPIFFE name to the check as nobody, and its refusal ends the connection', async () => {
    const nameless = await authority.issue({ dnsNames: ['cluster.local'] });
    const asked: (readonly Identity[])[] = [];
    const { client, server } = await pair({
      client: nameless,
      atServer: {
        verifyPeer: (identities) => {
          asked.push(identities);
          return identities.length === 0 ? 'nobody' : undefined;
        },
      },
    });
    expect(asked).toEqual([[]]);
    expect(server.error?.code).toBe('tls-identity-rejected');
    expect(server.error?.message).toBe('TLS handshake failed: nobody');
    await pump(reactor, 'the client to see the end', () => client.ends === 1);
  });

  it('is given up by a client whose check refuses the server, before a byte of its own data', async () => {
    const { client, server } = await pair({ atClient: { verifyPeer: () => 'not the one' } });
    expect(client.error?.code).toBe('tls-identity-rejected');
    await pump(reactor, 'the server to see the end', () => server.ends === 1);
    expect(server.state).toBe('closed');
    expect(server.error).toBeDefined();
  });

  it('of a server with a foreign root fails at the client with the reason', async () => {
    const { client, server } = await pair({
      server: { ...(await foreign.issue({ uris: [apiId] })), rootsPem: authority.rootPem },
    });
    expect(client.error?.message).toBe(
      'TLS handshake failed: peer certificate: unable to get local issuer certificate',
    );
    expect(server.state).toBe('failed');
    // The alert tells the server why.
    expect(server.error?.message).toContain('unknown ca');
  });

  it('is refused to plain HTTP', async () => {
    const { port, peers } = serve();
    const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    socket.end('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    socket.resume();
    await pumpUntil(reactor, 'the end', closed(socket));
    await pump(reactor, 'the failure', () => peers[0]?.ends === 1);
    expect(peers[0]?.error?.message).toBe('TLS handshake failed: http request');
  });

  it('that stops half-way ends at its deadline', async () => {
    const { port, peers } = serve(api, { handshakeTimeoutMs: 50 });
    const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    // The first bytes of a ClientHello record.
    socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    socket.resume();
    await pumpUntil(reactor, 'the end', closed(socket));
    expect(peers[0]?.error?.code).toBe('tls-handshake-timeout');
    expect(peers[0]?.error?.message).toBe('TLS handshake failed: not finished in 50 ms');
  });

  it('that a peer cuts off fails at once', async () => {
    const { port, peers } = serve();
    const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    socket.end(Buffer.from([0x16, 0x03]));
    await pump(reactor, 'the failure', () => peers[0]?.ends === 1);
    expect(peers[0]?.error?.code).toBe('tls-handshake-failed');
  });

  it('given up by destroy() says so, once', async () => {
    const silent = createServer((socket) => sockets.push(socket.on('error', () => {})));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const dialled = dialTls(reactor, (silent.address() as AddressInfo).port, context('client', web));
    await pump(reactor, 'TCP', () => dialled.length === 1);
    const [peer] = dialled as [TlsPeer];
    peer.connection.destroy();
    peer.connection.destroy();
    expect(peer.ends).toBe(1);
    expect(peer.error?.code).toBe('closed');
    silent.close();
  });

  it('may be followed by the end of the connection in the callback itself', async () => {
    const { client, server } = await pair({ atClient: { onUp: (peer) => peer.connection.destroy() } });
    expect(client.state).toBe('closed');
    expect(client.ends).toBe(1);
    await pump(reactor, 'the other end', () => server.ends === 1);
  });
});

describe('an end', () => {
  it('with close_notify is orderly at both sides', async () => {
    const { client, server } = await pair({});
    client.connection.end();
    client.connection.end();
    await pump(reactor, 'the server', () => server.ends === 1);
    server.connection.end();
    await pump(reactor, 'the client', () => client.ends === 1);
    expect([client.error, server.error]).toEqual([undefined, undefined]);
  });

  it('without close_notify is an error', async () => {
    const { server, socket } = await nodePair();
    cut(socket);
    await pump(reactor, 'the server', () => server.ends === 1);
    expect(server.error?.code).toBe('tls-failed');
    expect(server.error?.message).toBe('TLS connection broke: unexpected eof while reading');
  });

  it('by a reset is an error of its own', async () => {
    const { server, socket } = await nodePair();
    socket.resetAndDestroy();
    await pump(reactor, 'the server', () => server.ends === 1);
    expect(server.error?.code).toBe('connection-reset');
    expect(server.error?.errno).toBe(libc.ECONNRESET);
  });

  it('by garbage in the record stream is an error, and the neighbour lives on', async () => {
    const { client, server } = await pair({});
    const relay = await nodePair();
    relay.socket.write(Buffer.alloc(64, 0x55));
    await pump(reactor, 'the broken one', () => relay.server.ends === 1);
    expect(relay.server.error?.code).toBe('tls-failed');
    expect([client.state, server.state]).toEqual(['up', 'up']);
    await drop(client, server);
  });

  it('comes after all that was written', async () => {
    const { client, server } = await pair({});
    let got = 0;
    server.onBytes = (bytes) => {
      got += bytes.length;
    };
    const total = fill(client);
    client.connection.end();
    await pump(reactor, 'the server', () => server.ends === 1);
    expect(got).toBe(total);
    expect(server.error).toBeUndefined();
    server.connection.end();
    await pump(reactor, 'the client', () => client.ends === 1);
  });
});

describe('contexts', () => {
  it('are replaced under live connections, which go on', async () => {
    const old = new TlsContext('server', api);
    const renewed = context(
      'server',
      await authority.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/renewed'] }),
    );
    let current = old;
    const server = serveTls(reactor, () => current);
    closers.push(server.close);
    const first = dialTls(reactor, server.port, context('client', web));
    await pump(reactor, 'the first', () => first[0]?.state === 'up' && server.peers[0]?.state === 'up');
    current = renewed;
    old[Symbol.dispose]();
    const second = dialTls(reactor, server.port, context('client', web));
    await pump(reactor, 'the second', () => second[0]?.state === 'up' && server.peers[1]?.state === 'up');
    expect(first[0]?.identities).toEqual([apiId]);
    expect(second[0]?.identities).toEqual(['spiffe://cluster.local/ns/shop/sa/renewed']);
    const got: string[] = [];
    (first[0] as TlsPeer).onBytes = (bytes) => got.push(bytes.toString());
    write(server.peers[0] as TlsPeer, Buffer.from('still here'));
    await pump(reactor, 'a byte on the first', () => got.length > 0);
    expect(got).toEqual(['still here']);
    await drop(...first, ...second, ...server.peers);
  });

  it('2,000 handshakes leave no descriptor and no memory behind', async () => {
    const server = serve();
    const client = context('client', web);
    const round = async (count: number) => {
      const dialled = Array.from({ length: count }, () => dialTls(reactor, server.port, client));
      await pump(reactor, 'handshakes', () => dialled.every(([peer]) => peer?.state === 'up'));
      await pump(reactor, 'at the server', () => server.peers.every(({ state }) => state === 'up'));
      await drop(...dialled.flat(), ...server.peers.splice(0));
    };
    const descriptors = openDescriptors();
    for (let i = 0; i < 8; i++) await round(50);
    const resident = residentBytes();
    for (let i = 0; i < 32; i++) await round(50);
    expect(openDescriptors()).toBe(descriptors);
    // An SSL object that is not freed costs 40 KB and more, its ring 320 KB: 1,600 of them 64 MB at least.
    expect(residentBytes() - resident).toBeLessThan(40 * 1024 * 1024);
  }, 90_000);
});

// Peers

function nodeCredentials({ privateKeyPem, chainPem }: TlsCredentials) {
  return { key: privateKeyPem, cert: chainPem, ca: authority.rootPem };
}

/** Our server, and the raw TCP socket under a node:tls client of it. */
async function nodePair(): Promise<{ server: TlsPeer; socket: Socket }> {
  const { port, peers } = serve();
  const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
  sockets.push(socket);
  const client = tls.connect({
    ...nodeCredentials(web),
    socket,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  });
  client.on('error', () => {});
  await pump(reactor, 'up', () => peers[0]?.state === 'up');
  return { server: peers[0] as TlsPeer, socket };
}

/** FIN without a word. */
function cut(socket: Socket): void {
  const handle = (socket as unknown as { _handle: { fd: number } })._handle;
  libc.shutdown(handle.fd, libc.SHUT_WR);
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

function write(peer: TlsPeer, bytes: Buffer): void {
  const slab = new Slab(bytes.length);
  bytes.copy(slab.bytes);
  peer.connection.write(slab, 0, bytes.length);
  peer.connection.flush();
}

/** Writes until there is no room. Returns the bytes. */
function fill(peer: TlsPeer): number {
  const slab = new Slab(16_384);
  slab.bytes.fill(7);
  let total = 0;
  for (;;) {
    const room = Math.min(slab.bytes.length, peer.connection.room());
    if (room === 0) return total;
    peer.connection.write(slab, 0, room);
    total += room;
    peer.connection.flush();
  }
}
