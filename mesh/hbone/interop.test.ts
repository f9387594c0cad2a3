// Our tunnels against node:http2 over node:tls, in both roles.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as http2 from 'node:http2';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import * as tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import type { TlsCredentials } from '../io/tls-context.ts';
import { REASON_FRAME } from './reason-frame.ts';
import { apiId, loopback, readAll, TunnelWorld, webId, type WorldOptions } from './testing/tunnel-world.ts';

let world: TunnelWorld;
let before: number;
let closers: (() => void)[];

beforeEach(() => {
  before = openDescriptors();
  closers = [];
});

afterEach(async () => {
  for (const close of closers) close();
  await world.close();
  expect(world.errors).toEqual([]);
  expect(openDescriptors()).toBe(before);
});

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function forNode({ privateKeyPem, chainPem, rootsPem }: TlsCredentials) {
  return { key: privateKeyPem, cert: chainPem, ca: rootsPem };
}

async function nodeTls(): Promise<tls.TLSSocket> {
  const credentials = await world.authority.issue({ uris: [webId] });
  const socket = tls.connect({
    ...forNode(credentials),
    socket: world.keep(connectTcp(world.port, '127.0.0.1')),
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  });
  await pumpUntil(
    world.reactor,
    'TLS',
    once(
      socket.on('error', () => {}),
      'secureConnect',
    ),
  );
  return socket;
}

/** A node:http2 client of our server tunnel. */
async function nodeClient(options: WorldOptions = {}): Promise<http2.ClientHttp2Session> {
  world = await TunnelWorld.create(options);
  const socket = await nodeTls();
  const client = http2.connect('https://127.0.0.1', { createConnection: () => socket });
  client.on('error', () => {});
  closers.push(() => client.destroy());
  return client;
}

type Answer = http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;

async function ask(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
): Promise<{ stream: http2.ClientHttp2Stream; answer: Answer }> {
  const stream = client.request(headers).on('error', () => {});
  const [answer] = (await pumpUntil(world.reactor, 'the answer', once(stream, 'response'))) as [Answer];
  return { stream, answer };
}

describe('a node:http2 client of our server tunnel', () => {
  it('gets 200 and an echo of what it sends, three streams at once', async () => {
    const client = await nodeClient();
    const bodies = [10, 70_000, 3_000_000].map((size) => randomBytes(size));
    for (const body of bodies) {
      const { stream, answer } = await ask(client, {
        ':method': 'CONNECT',
        ':authority': world.authorityText,
      });
      expect(answer[':status']).toBe(200);
      const echo: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => echo.push(chunk));
      const end = once(stream, 'end');
      stream.end(body);
      await pump(world.reactor, 'the application', () => world.accepted.length > 0);
      const app = world.accepted.pop() as Socket;
      app.pipe(app);
      await pumpUntil(world.reactor, 'the echo', end);
      expect(sha(Buffer.concat(echo))).toBe(sha(body));
    }
    await pump(world.reactor, 'all splices', () => world.inbound.every(({ end }) => end === 'finished'));
    expect([...world.tunnels][0]?.peer).toMatchObject({
      trustDomain: 'cluster.local',
      serviceAccount: 'web',
    });
  });

  it.each([
    ['401 and the reason', 401, 'denied by shop/only-web'],
    ['503 without one', 503, undefined],
  ])('gets %s, and its stream ends', async (_what, status, reason) => {
    const client = await nodeClient({ onRequest: (request) => request.reject(status, reason) });
    const { stream, answer } = await ask(client, { ':method': 'CONNECT', ':authority': '10.0.0.1:80' });
    expect(answer[':status']).toBe(status);
    expect(answer['x-weft-reason']).toBe(reason);
    await pump(world.reactor, 'the end of the stream', () => stream.resume().closed);
    expect([...world.tunnels][0]?.session.openStreams).toBe(0);
  });

  it('is told apart from a CONNECT when it asks for something else', async () => {
    const seen: boolean[] = [];
    const client = await nodeClient({
      onRequest: (request) => {
        seen.push(request.isConnect);
        request.reject(400);
      },
    });
    const { answer } = await ask(client, { ':method': 'GET', ':path': '/', ':authority': '10.0.0.1:80' });
    expect(answer[':status']).toBe(400);
    expect(seen).toEqual([false]);
  });

  it('that does not wait for 200 is refused its stream, not its tunnel', async () => {
    let gone = 0;
    const client = await nodeClient({
      onRequest: (request) => {
        request.onGone(() => gone++);
      },
    });
    const early = client.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:80' });
    early.on('error', () => {});
    const closed = new Promise((resolve) => early.once('close', resolve));
    early.write('too early');
    await pumpUntil(world.reactor, 'the refusal', closed);
    expect(early.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    expect(gone).toBe(1);
    expect(client.destroyed).toBe(false);
  });

  it('sees RST_STREAM when the application resets, and its own reset reaches the application', async () => {
    const client = await nodeClient();
    const first = await ask(client, { ':method': 'CONNECT', ':authority': world.authorityText });
    await pump(world.reactor, 'the application', () => world.accepted.length === 1);
    const closed = new Promise((resolve) => first.stream.once('close', resolve));
    world.accepted.pop()?.resetAndDestroy();
    await pumpUntil(world.reactor, 'the reset', closed);
    expect(first.stream.rstCode).toBe(http2.constants.NGHTTP2_CONNECT_ERROR);
    const second = await ask(client, { ':method': 'CONNECT', ':authority': world.authorityText });
    await pump(world.reactor, 'the application', () => world.accepted.length === 1);
    const seen = readAll(world.accepted.pop() as Socket);
    // close() would end its direction first; this is RST_STREAM alone.
    second.stream.destroy(new Error('on purpose'));
    expect((await pumpUntil(world.reactor, 'the reset', seen)).how).toBe('ECONNRESET');
  });

  it('learns of a drain by GOAWAY and may finish', async () => {
    const client = await nodeClient();
    const { stream } = await ask(client, { ':method': 'CONNECT', ':authority': world.authorityText });
    const goaway = once(client, 'goaway');
    for (const tunnel of world.tunnels) tunnel.drain();
    const [code] = (await pumpUntil(world.reactor, 'the GOAWAY', goaway)) as [number];
    expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
    const app = world.accepted.pop() as Socket;
    app.pipe(app);
    const echo = once(stream, 'data');
    stream.end('last words');
    expect(String((await pumpUntil(world.reactor, 'the echo', echo))[0])).toBe('last words');
    stream.resume();
    await pump(world.reactor, 'the tunnel to end', () => world.tunnels.size === 0);
  });
});

describe('a raw client of our server tunnel', () => {
  it('may send extension frames of any type on any stream', async () => {
    world = await TunnelWorld.create();
    const socket = await nodeTls();
    const frame = (type: number, flags: number, id: number, payload: Buffer) => {
      const head = Buffer.alloc(9);
      head.writeUIntBE(payload.length, 0, 3);
      head[3] = type;
      head[4] = flags;
      head.writeUInt32BE(id, 5);
      return Buffer.concat([head, payload]);
    };
    const ping = Buffer.from('12345678');
    const answers: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => answers.push(chunk));
    socket.write(
      Buffer.concat([
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        frame(4, 0, 0, Buffer.alloc(0)),
        frame(0xfa, 0xff, 0, Buffer.from('what is this')),
        frame(0x5a, 0, 7, randomBytes(2_000)),
        frame(REASON_FRAME, 0, 0, Buffer.from('no reason')),
        frame(REASON_FRAME, 0, 9, Buffer.from('for a stream that never was')),
        frame(6, 0, 0, ping),
      ]),
    );
    const pong = frame(6, 1, 0, ping);
    await pump(world.reactor, 'the answer to PING', () => Buffer.concat(answers).includes(pong));
    expect(world.tunnels.size).toBe(1);
    socket.destroy();
    await pump(world.reactor, 'the end', () => world.tunnels.size === 0);
  });
});

/** Our pool's next tunnels go to a node:http2 server with `onStream`. */
async function nodeServer(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  settings: http2.Settings = {},
): Promise<http2.ServerHttp2Session[]> {
  world = await TunnelWorld.create();
  const credentials = await world.authority.issue({ uris: [apiId] });
  const server = http2.createSecureServer({ ...forNode(credentials), requestCert: true, settings });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on('session', (session) => {
    session.on('error', () => {});
    sessions.push(session);
  });
  server.on('secureConnection', (socket: Socket) => world.keep(socket));
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  world.port = (server.address() as AddressInfo).port;
  closers.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return sessions;
}

describe('our pool against a node:http2 server', () => {
  it('opens CONNECT streams with our headers and carries bytes both ways', async () => {
    const seen: http2.IncomingHttpHeaders[] = [];
    await nodeServer((stream, headers) => {
      seen.push(headers);
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    const connections = [await world.outboundOnly(), await world.outboundOnly()];
    const bodies = [randomBytes(3_000_000), Buffer.from('short')];
    const echoes = Promise.all(connections.map(({ client }) => readAll(client)));
    connections.forEach(({ client }, i) => client.end(bodies[i] as Buffer));
    const got = await pumpUntil(world.reactor, 'the echoes', echoes);
    expect(got.map(({ bytes, how }) => [sha(bytes), how])).toEqual(bodies.map((body) => [sha(body), 'end']));
    expect(world.pool.size).toBe(1);
    expect(seen[0]?.[':method']).toBe('CONNECT');
    expect(seen[0]?.[':authority']).toBe(world.authorityText);
    expect(seen[0]?.[':scheme']).toBeUndefined();
    expect(seen[0]?.[':path']).toBeUndefined();
    await pump(world.reactor, 'both ends', () => connections.every(({ side }) => side.end === 'finished'));
  });

  it('takes an error status as failure and leaves no stream open there', async () => {
    const closed: http2.ServerHttp2Stream[] = [];
    await nodeServer((stream) => {
      stream.once('close', () => closed.push(stream));
      stream.respond({ ':status': 401 }, { endStream: true });
    });
    const error = await world.failure();
    expect([error.code, error.status]).toEqual(['denied', 401]);
    await pump(world.reactor, 'the stream to close', () => closed.length === 1);
    expect(world.pool.size).toBe(1);
  });

  it('carries RST_STREAM of the server to the application as a reset', async () => {
    let open: http2.ServerHttp2Stream | undefined;
    await nodeServer((stream) => {
      stream.respond({ ':status': 200 });
      open = stream;
    });
    const { client, side } = await world.outboundOnly();
    const seen = readAll(client);
    open?.destroy(new Error('on purpose'));
    expect((await pumpUntil(world.reactor, 'the reset', seen)).how).toBe('ECONNRESET');
    expect(side.end).toBe('tunnel-reset');
  });

  it('leaves a server that says GOAWAY and dials again', async () => {
    const sessions = await nodeServer((stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    const old = await world.outboundOnly();
    sessions[0]?.goaway();
    await pump(world.reactor, 'the GOAWAY', () => old.request.tunnel.available === false);
    const fresh = await world.outboundOnly();
    expect(sessions).toHaveLength(2);
    const seen = readAll(old.client);
    old.client.end('on the old one');
    expect((await pumpUntil(world.reactor, 'the echo', seen)).bytes.toString()).toBe('on the old one');
    expect(fresh.side.end).toBeUndefined();
  });

  it('refuses a server that does not agree on h2', async () => {
    world = await TunnelWorld.create();
    const credentials = await world.authority.issue({ uris: [apiId] });
    let closed = 0;
    const server = tls.createServer({ ...forNode(credentials), requestCert: true }, (socket) => {
      socket.on('error', () => {}).once('close', () => closed++);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const error = await world.failure({ target: { address: loopback, port } });
    expect(error.code).toBe('tls-failed');
    expect(error.message).toBe('TLS handshake failed: the peer does not speak h2 (ALPN)');
    await pump(world.reactor, 'the server to see the end', () => closed === 1);
  });
});
