// Clients that others wrote, through a waypoint's process: what they are used to works. curl, node:http, node:http2,
// grpc-js, ws; h2load and nghttp where they are installed (Debian: nghttp2-client). h2spec is run in mesh/h2.

import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { Agent, createServer as createHttpServer, type IncomingMessage, request } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { type Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { StandingWaypoint } from './standing-waypoint.ts';
import { paths, serveStreams, StreamsClient } from './streaming-service.ts';

const run = promisify(execFile);
const megabyte = randomBytes(1024 * 1024);
const events = new EventEmitter();
const servers: Server[] = [];
let grpcServer: Awaited<ReturnType<typeof serveStreams>>['server'];
let waypoint: StandingWaypoint;

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** `/echo` sends the body back, `/trailers` ends with one, anything else is told its method, path and length. */
function application(): Server {
  const server = createHttpServer((incoming, outgoing) => {
    if (incoming.url === '/echo') return void incoming.pipe(outgoing);
    if (incoming.url === '/trailers') {
      outgoing.writeHead(200, { trailer: 'x-end' });
      outgoing.write('then');
      outgoing.addTrailers({ 'x-end': 'over' });
      return void outgoing.end();
    }
    let octets = 0;
    incoming.on('data', (part: Buffer) => (octets += part.length));
    incoming.on('end', () => outgoing.end(`${incoming.method} ${incoming.url} ${octets}\n`));
  });
  new WebSocketServer({ server }).on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
    socket.on('close', (code, reason) => events.emit('websocket closed', code, String(reason)));
  });
  return server;
}

beforeAll(async () => {
  const http2 = createHttp2Server();
  http2.on('request', (incoming, outgoing) => {
    let octets = 0;
    incoming.on('data', (part: Buffer) => (octets += part.length));
    incoming.on('end', () => outgoing.end(`${incoming.method} ${incoming.url} ${octets}\n`));
  });
  const streams = await serveStreams(events);
  grpcServer = streams.server;
  waypoint = await StandingWaypoint.start({
    services: [
      { name: 'http', target: await listening(application()) },
      { name: 'http2', target: await listening(http2), protocol: 'HTTP2' },
      { name: 'grpc', target: streams.port, protocol: 'GRPC' },
    ],
  });
}, 60_000);

afterAll(async () => {
  await waypoint?.[Symbol.asyncDispose]();
  grpcServer?.forceShutdown();
  for (const server of servers) server.close();
});

const url = (service: string, path: string): string => `http://127.0.0.1:${waypoint.port(service)}${path}`;

describe('curl', () => {
  const curl = async (...args: readonly string[]): Promise<string> =>
    (await run('curl', ['-sS', '--max-time', '20', ...args])).stdout;

  it('gets, posts and asks for heads, one after the other on one connection', async () => {
    const connects = ['-w', '%{http_code} %{http_version} %{num_connects}\n'];
    const get = [...connects, url('http', '/a?b=c')];
    const post = ['--next', ...connects, '-sS', '-d', 'four', url('http', '/post')];
    const head = ['--next', ...connects, '-sS', '-I', '-o', '/dev/null', url('http', '/head')];
    expect((await curl(...get, ...post, ...head)).split('\n')).toEqual([
      'GET /a?b=c 0',
      '200 1.1 1',
      'POST /post 4',
      '200 1.1 0',
      '200 1.1 0',
      '',
    ]);
  });

  it('waits for 100 Continue, and sends chunks', async () => {
    const more = '--data-binary @- -H'.split(' ');
    for (const header of ['expect: 100-continue', 'transfer-encoding: chunked']) {
      const posted = run('curl', ['-sS', '--expect100-timeout', '20', ...more, header, url('http', '/big')]);
      posted.child.stdin?.end(megabyte);
      expect((await posted).stdout).toBe(`POST /big ${megabyte.length}\n`);
    }
  });

  it.each(['http', 'http2'])('speaks HTTP/2 with prior knowledge to %s', async (service) => {
    const args = ['--http2-prior-knowledge', '-d', 'four', '-w', '%{http_version}', url(service, '/two')];
    expect(await curl(...args)).toBe('POST /two 4\n2');
  });

  it('speaks HTTP/1.0, and to an application of HTTP/2', async () => {
    expect(await curl('-0', url('http', '/old'))).toBe('GET /old 0\n');
    expect(await curl('--http1.1', '-d', 'four', url('http2', '/one'))).toBe('POST /one 4\n');
  });
});

describe('node:http', () => {
  async function send(path: string, agent: Agent, body?: Buffer): Promise<IncomingMessage> {
    const outgoing = request(url('http', path), { agent, method: body === undefined ? 'GET' : 'POST' });
    outgoing.end(body);
    return ((await once(outgoing, 'response')) as [IncomingMessage])[0];
  }

  it('keeps its connection over bodies both ways and trailers', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 5; i++) {
      const echoed = await send('/echo', agent, megabyte);
      expect((await buffer(echoed)).equals(megabyte)).toBe(true);
      const trailed = await send('/trailers', agent);
      expect([await text(trailed), trailed.trailers]).toEqual(['then', { 'x-end': 'over' }]);
    }
    agent.destroy();
  });
});

describe('node:http2', () => {
  it.each(['http', 'http2'])('sends 100 requests at once on one connection to %s', async (service) => {
    const session = connectHttp2(url(service, ''));
    const answers = Array.from({ length: 100 }, async (_, index) => {
      const stream = session.request({ ':method': 'POST', ':path': `/${index}` });
      stream.end(megabyte.subarray(0, index * 100));
      const [headers] = await once(stream, 'response');
      return `${(headers as Record<string, unknown>)[':status']} ${await text(stream)}`;
    });
    expect(await Promise.all(answers)).toEqual(
      Array.from({ length: 100 }, (_, index) => `200 POST /${index} ${index * 100}\n`),
    );
    session.close();
  });
});

describe('grpc-js', () => {
  let client: Client;

  beforeAll(() => {
    client = new StreamsClient(`127.0.0.1:${waypoint.port('grpc')}`, credentials.createInsecure());
  });

  afterAll(() => client.close());

  const plain = (bytes: Buffer): Buffer => bytes;

  function unary(
    path: string,
    message: Buffer,
    options: { readonly deadline?: number; readonly signal?: AbortSignal } = {},
  ): Promise<{ error: ServiceError | null; answer: string; trailers: Metadata }> {
    const metadata = new Metadata();
    metadata.set('x-say', 'hello');
    return new Promise((resolve) => {
      let trailers = new Metadata();
      const call = client.makeUnaryRequest(path, plain, plain, message, metadata, options, (error, answer) =>
        // The status comes after the message.
        setImmediate(() => resolve({ error, answer: String(answer), trailers })),
      );
      call.on('status', (end) => (trailers = end.metadata));
      options.signal?.addEventListener('abort', () => call.cancel());
    });
  }

  it('calls and gets a message and trailers, a hundred times', async () => {
    const calls = Array.from({ length: 100 }, (_, index) =>
      unary(paths.once.path, Buffer.from(String(index))),
    );
    for (const [index, { error, answer, trailers }] of (await Promise.all(calls)).entries())
      expect([error, answer, trailers.get('x-said')]).toEqual([null, String(index), ['hello']]);
  });

  it('is told the status and the text of a failure', async () => {
    const { error } = await unary(paths.refuse.path, Buffer.alloc(0));
    expect([error?.code, error?.details]).toEqual([status.FAILED_PRECONDITION, 'not äs it is']);
  });

  it('takes a stream of 5,000 messages', async () => {
    const call = client.makeServerStreamRequest(paths.count.path, plain, plain, Buffer.from('5000'));
    let expected = 1;
    for await (const message of call) expect(String(message)).toBe(String(expected++));
    expect(expected).toBe(5_001);
  });

  it('sends a stream of 4 MB', async () => {
    const answered = Promise.withResolvers<string>();
    const call = client.makeClientStreamRequest(paths.gather.path, plain, plain, (error, answer) =>
      error === null ? answered.resolve(String(answer)) : answered.reject(error),
    );
    for (let sent = 0; sent < 64; sent++)
      if (!call.write(megabyte.subarray(0, 65_536))) await once(call, 'drain');
    call.end();
    expect(await answered.promise).toBe(String(64 * 65_536));
  });

  it('speaks and listens by turns on one stream', async () => {
    const call = client.makeBidiStreamRequest(paths.echo.path, plain, plain);
    for (let turn = 0; turn < 100; turn++) {
      call.write(Buffer.from(`turn ${turn}`));
      expect(String((await once(call, 'data'))[0])).toBe(`turn ${turn}`);
    }
    const ended = once(call, 'status');
    call.end();
    expect((await ended)[0]).toMatchObject({ code: status.OK });
  });

  it('cancels, and the server hears it', async () => {
    const cancelled = once(events, 'cancelled');
    const call = client.makeServerStreamRequest(paths.count.path, plain, plain, Buffer.from('0'));
    expect(String((await once(call, 'data'))[0])).toBe('endless');
    const failed = once(call, 'error');
    call.cancel();
    expect((await failed)[0]).toMatchObject({ code: status.CANCELLED });
    expect(await cancelled).toEqual(['count']);
  });

  it('has a deadline, and the server hears when it is over', async () => {
    const cancelled = once(events, 'cancelled');
    const { error } = await unary(paths.never.path, Buffer.alloc(0), { deadline: Date.now() + 300 });
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED);
    expect(await cancelled).toEqual(['never']);
  });
});

describe('ws', () => {
  it('opens, sends text and a megabyte, pings, and closes with code and reason', async () => {
    const socket = new WebSocket(`${url('http', '/socket').replace('http', 'ws')}`);
    await once(socket, 'open');
    socket.send('text');
    expect(String((await once(socket, 'message'))[0])).toBe('text');
    socket.send(megabyte);
    expect(((await once(socket, 'message'))[0] as Buffer).equals(megabyte)).toBe(true);
    const pong = once(socket, 'pong');
    socket.ping('there?');
    expect(String((await pong)[0])).toBe('there?');
    const heard = once(events, 'websocket closed');
    const closed = once(socket, 'close');
    socket.close(4_321, 'done');
    expect(await heard).toEqual([4_321, 'done']);
    expect((await closed)[0]).toBe(4_321);
  });

  it('holds a hundred connections', async () => {
    const sockets = Array.from({ length: 100 }, () => new WebSocket(url('http', '/').replace('http', 'ws')));
    await Promise.all(sockets.map((socket) => once(socket, 'open')));
    const answers = sockets.map((socket) => once(socket, 'message'));
    for (const [index, socket] of sockets.entries()) socket.send(String(index));
    expect((await Promise.all(answers)).map(([data]) => String(data))).toEqual(
      sockets.map((_, i) => String(i)),
    );
    const closed = sockets.map((socket) => once(socket, 'close'));
    for (const socket of sockets) socket.close();
    await Promise.all(closed);
  });
});

const nghttp2 = installed('h2load') && installed('nghttp');
const missing = nghttp2 ? '' : ' (skipped: install nghttp2-client)';

describe.skipIf(!nghttp2)(`nghttp2's programs${missing}`, () => {
  it.each([
    ['HTTP/2 to HTTP/1.1', 'http', ['-m', '16']],
    ['HTTP/2', 'http2', ['-m', '16']],
    ['HTTP/1.1', 'http', ['--h1']],
    ['HTTP/1.1 to HTTP/2', 'http2', ['--h1']],
  ])('h2load: 2,000 requests of %s, none fails', async (_what, service, flags) => {
    const load = ['-n', '2000', '-c', '8', ...flags, url(service, '/load')];
    const { stdout } = await run('h2load', load);
    expect(stdout).toContain(
      '2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout',
    );
    expect(stdout).toContain('status codes: 2000 2xx');
  });

  it('nghttp: posts a megabyte and reads trailers', async () => {
    const posted = run('nghttp', ['-v', '-d', '-', '--no-push', url('http', '/big')], { maxBuffer: 1 << 26 });
    posted.child.stdin?.end(megabyte);
    expect((await posted).stdout).toContain(`POST /big ${megabyte.length}`);
    const { stdout } = await run('nghttp', ['-v', url('http', '/trailers')]);
    expect(stdout).toMatch(/x-end: over/);
  });
});

function installed(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
