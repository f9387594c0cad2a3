// Real sockets and other implementations: node:http and curl against the server end, node:http against the client end,
// and all of them through a small proxy, which also carries WebSockets by the ws package.

import { execFile } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import { HttpWorld, type Version } from './testing/http-world.ts';
import { RecordedStream } from './testing/recorded-stream.ts';

const run = promisify(execFile);
const megabyte = 1 << 20;
const source = randomFillSync(Buffer.allocUnsafe(8 * megabyte));
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

let world: HttpWorld;
let before: number;
let closers: (() => Promise<unknown> | undefined)[];

beforeEach(() => {
  before = openDescriptors();
  world = new HttpWorld();
  closers = [];
});

afterEach(async () => {
  for (const close of closers.reverse()) {
    const closing = close();
    if (closing !== undefined) await pumpUntil(world.reactor, 'a peer to close', closing);
  }
  await world.close();
  expect(world.errors).toEqual([]);
  await expect.poll(openDescriptors).toBe(before);
});

function destroyNow(what: { destroy(): void }): undefined {
  what.destroy();
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
}

async function readAnswer(response: http.IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { headers, trailers } = response;
  return { status: response.statusCode ?? 0, headers, trailers, body: Buffer.concat(chunks) };
}

/** A request by node:http. */
async function ask(
  port: number,
  options: http.RequestOptions = {},
  write?: (request: http.ClientRequest) => void,
): Promise<Answer> {
  return await pumpUntil(world.reactor, 'the answer', beginAsking(port, options, write));
}

/** As `ask`, for who turns the loop himself. */
function beginAsking(
  port: number,
  options: http.RequestOptions,
  write: (request: http.ClientRequest) => void = (request) => request.end(),
): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    const request = http.request({ port, host: '127.0.0.1', ...options }, (response) => {
      readAnswer(response).then(resolve, reject);
    });
    request.on('error', reject);
    write(request);
  });
}

/** A server by node:http that answers with what it was asked. */
async function echoServer(handle?: http.RequestListener): Promise<number> {
  const server = http.createServer(
    handle ??
      ((request, response) => {
        response.writeHead(200, { 'x-method': request.method, 'x-path': request.url, trailer: 'x-seen' });
        request.pipe(response, { end: false });
        request.on('end', () => {
          response.addTrailers({ 'x-seen': request.trailers['x-sum'] ?? 'none' });
          response.end();
        });
      }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** The same by node:http2. */
async function echoServer2(): Promise<number> {
  const server = http2.createServer();
  const sessions = new Set<http2.Http2Session>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.respond({ ':status': 200, 'x-path': String(headers[':path']) });
    stream.pipe(stream);
    stream.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A server of ours that answers with what it was asked. */
function ownEcho(): number {
  return world.serve('http1', (stream, list) => {
    const recorded = new RecordedStream();
    recorded.stream = stream;
    recorded.head = list;
    recorded.onEvent = (event) => {
      if (event !== 'end') return;
      stream.respond(
        [
          [':status', '200'],
          ['x-asked', `${list[0]?.[1]} ${list[3]?.[1]}`],
        ],
        false,
      );
      if (recorded.body.length > 0) recorded.write(recorded.body);
      stream.trailers([['x-length', String(recorded.body.length)]]);
    };
    return recorded;
  });
}

describe('the server end', () => {
  it('serves node:http, one connection for many requests', async () => {
    const port = ownEcho();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => destroyNow(agent));
    for (const size of [0, 1, 100, 10_000]) {
      const body = source.subarray(0, size);
      const chunked = await ask(port, { agent, method: 'POST', path: `/${size}` }, (request) =>
        request.end(body),
      );
      expect([chunked.status, chunked.headers['x-asked'], chunked.body.equals(body)]).toEqual([
        200,
        `POST /${size}`,
        true,
      ]);
      expect(chunked.trailers['x-length']).toBe(String(size));
    }
    expect((await ask(port, { agent, method: 'HEAD' })).body.length).toBe(0);
    expect(world.servers.size).toBe(1);
  });

  it('serves curl: lengths, chunks, 100-continue, HTTP/1.0, HEAD', async () => {
    const port = ownEcho();
    const curl = async (...options: string[]) => {
      const result = run('curl', [
        '-sS',
        '--max-time',
        '10',
        '-o',
        '-',
        '-w',
        '\n%{http_code} %{http_version} %{num_connects}',
        ...options,
        `http://127.0.0.1:${port}/x`,
      ]);
      return (await pumpUntil(world.reactor, 'curl', result)).stdout;
    };
    expect(await curl()).toBe('\n200 1.1 1');
    expect(await curl('-d', 'hello')).toBe('hello\n200 1.1 1');
    expect(await curl('-d', 'hello', '-H', 'Transfer-Encoding: chunked')).toBe('hello\n200 1.1 1');
    expect(await curl('-d', 'hello', '-H', 'Expect: 100-continue', '--expect100-timeout', '0.1')).toBe(
      'hello\n200 1.1 1',
    );
    expect(await curl('--http1.0')).toBe('\n200 1.1 1');
    expect(await curl('-I')).toContain('x-asked: HEAD /x');
    expect(await curl('-H', 'Host: a b')).toBe('\n400 1.1 1');
    await pump(world.reactor, 'the connections to end', () => world.servers.size === 0);
    expect(world.refusals).toEqual(['400 Host is no host and port']);
  });

  it('ends a refused connection so that the client reads the answer, whatever it still sends', async () => {
    const port = ownEcho();
    const answer = await ask(
      port,
      { method: 'POST', path: '/', headers: { 'transfer-encoding': 'gzip, chunked' } },
      (request) => {
        request.on('error', () => {});
        request.write(source.subarray(0, megabyte));
      },
    );
    expect(answer.status).toBe(501);
  });
});

describe('the client end', () => {
  it('asks node:http, one connection for many requests', async () => {
    const port = await echoServer();
    const connection = await world.connect('http1', port);
    for (const size of [0, 1, 10_000]) {
      const recorded = new RecordedStream();
      const list = [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':authority', 'a'],
        [':path', `/${size}`],
      ] as const;
      const stream = connection.request(list, false, recorded);
      if (stream === undefined) throw new Error('No request can be made');
      recorded.stream = stream;
      if (size > 0) recorded.write('x'.repeat(size));
      stream.trailers([['x-sum', `${size}`]]);
      await pump(world.reactor, 'the answer', () => recorded.events.includes('end'));
      expect([recorded.body.length, recorded.head]).toEqual([size, [['x-seen', `${size}`]]]);
    }
    expect(connection.canOpen).toBe(true);
  });
});

describe.each([
  ['http1', 'http1'],
  ['h2', 'http1'],
  ['http1', 'h2'],
  ['h2', 'h2'],
] as const)('a proxy from %s to %s', (down: Version, up: Version) => {
  it('carries large bodies both ways, by length and in chunks', async () => {
    const echo = up === 'h2' ? await echoServer2() : await echoServer();
    const port = await world.proxy(echo, { down, up });
    if (down === 'h2') {
      const client = http2.connect(`http://127.0.0.1:${port}`);
      closers.push(() => destroyNow(client));
      const stream = client.request({ ':method': 'POST', ':path': '/big' });
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.end(source);
      await pumpUntil(world.reactor, 'the echo', once(stream, 'end'));
      expect(digest(Buffer.concat(chunks))).toBe(digest(source));
      return;
    }
    for (const headers of [{}, { 'content-length': source.length }]) {
      const answer = await ask(port, { method: 'POST', path: '/big', headers }, (request) =>
        request.end(source),
      );
      expect([answer.headers['x-path'], digest(answer.body)]).toEqual(['/big', digest(source)]);
    }
  });
});

describe('a proxy', () => {
  it('keeps requests of many clients apart', async () => {
    const port = await world.proxy(await echoServer(), { down: 'http1', up: 'http1' });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });
    closers.push(() => destroyNow(agent));
    const answers = Array.from({ length: 200 }, (_, i) =>
      beginAsking(port, { agent, method: 'POST', path: `/${i}` }, (request) =>
        request.end(String(i).repeat(i)),
      ),
    );
    const all = await pumpUntil(world.reactor, 'all answers', Promise.all(answers));
    for (const [i, answer] of all.entries()) {
      expect([answer.headers['x-path'], answer.body.toString()]).toEqual([`/${i}`, String(i).repeat(i)]);
    }
  });

  it('carries trailers both ways, and a 100', async () => {
    const port = await world.proxy(await echoServer(), { down: 'http1', up: 'http1' });
    let continued = false;
    const answer = await ask(
      port,
      { method: 'POST', headers: { expect: '100-continue', trailer: 'x-sum' } },
      (request) => {
        request.on('continue', () => {
          continued = true;
          request.write('body');
          request.addTrailers({ 'x-sum': '42' });
          request.end();
        });
        request.flushHeaders();
      },
    );
    expect([continued, answer.body.toString(), answer.trailers['x-seen']]).toEqual([true, 'body', '42']);
  });

  it('holds back a server whose client does not read', async () => {
    let sent = 0;
    const port = await echoServer((_, response) => {
      const push = () => {
        while (sent < 64 * megabyte) {
          sent += megabyte;
          if (!response.write(source.subarray(0, megabyte))) break;
        }
      };
      response.on('drain', push);
      push();
    });
    const proxied = await world.proxy(port, { down: 'http1', up: 'http1' });
    const request = http.get({ port: proxied, host: '127.0.0.1' });
    const [response] = (await pumpUntil(world.reactor, 'the head', once(request, 'response'))) as [
      http.IncomingMessage,
    ];
    response.pause();
    let quiet = 0;
    let last = -1;
    await pump(world.reactor, 'the server to be held back', () => {
      quiet = sent === last ? quiet + 1 : 0;
      last = sent;
      return quiet > 50;
    });
    expect(sent).toBeLessThan(40 * megabyte);
    expect(world.budget.used).toBeLessThan(megabyte);
    response.destroy();
    await pump(
      world.reactor,
      'both ends to be gone',
      () => world.servers.size === 0 && world.clients.size === 7,
    );
  });

  it('cuts the client when the server is cut in the middle of its answer', async () => {
    const port = await echoServer((_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('part', () => response.destroy());
    });
    const proxied = await world.proxy(port, { down: 'http1', up: 'http1' });
    await expect(ask(proxied)).rejects.toThrow(/aborted|ECONNRESET|hang up/);
  });

  it('answers 502 when the server ends without one', async () => {
    const port = await echoServer((request) => request.socket.destroy());
    const proxied = await world.proxy(port, { down: 'http1', up: 'http1' });
    expect((await ask(proxied)).status).toBe(502);
  });

  it('carries WebSockets, in both directions and to the end', async () => {
    const sockets = new WebSocketServer({ noServer: true });
    const server = http.createServer();
    server.on('upgrade', (request, socket, early) => {
      sockets.handleUpgrade(request, socket, early, (each) =>
        each.on('message', (data, binary) => each.send(data, { binary })),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const proxied = await world.proxy((server.address() as AddressInfo).port, { down: 'http1', up: 'http1' });
    const client = new WebSocket(`ws://127.0.0.1:${proxied}/chat`);
    await pumpUntil(world.reactor, 'the upgrade', once(client, 'open'));
    for (const message of [Buffer.from('hello'), source.subarray(0, megabyte)]) {
      client.send(message);
      const [echo] = (await pumpUntil(world.reactor, 'the echo', once(client, 'message'))) as [Buffer];
      expect(digest(echo)).toBe(digest(message));
    }
    client.close(4000, 'done');
    const [code] = (await pumpUntil(world.reactor, 'the end', once(client, 'close'))) as [number];
    expect(code).toBe(4000);
    await pump(world.reactor, 'the connections to end', () => world.servers.size === 0);
  });
});
