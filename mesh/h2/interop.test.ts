// Our session against node:http2 (nghttp2), in both roles over loopback TCP.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as http2 from 'node:http2';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { ErrorCode, type H2Error } from './error.ts';
import { type Header, headerValue } from './header.ts';
import { H2Session, type H2SessionOptions } from './session.ts';
import type { H2Stream, StreamHandler } from './stream.ts';
import { type EchoServer, startEchoServer, StreamPump, TEST_SETTINGS } from './testing/echo-server.ts';
import { SocketTransport } from './testing/socket-transport.ts';

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const LARGE: H2SessionOptions['settings'] = {
  ...TEST_SETTINGS,
  initialWindowSize: 4_194_304,
  maxFrameSize: 1_048_576,
};

// node:http2 as client, our session as server

async function serve(
  options: Parameters<typeof startEchoServer>[0] = {},
): Promise<{ server: EchoServer; client: http2.ClientHttp2Session }> {
  const server = await startEchoServer(options);
  const client = http2.connect(`http://127.0.0.1:${server.port}`, {
    settings: { initialWindowSize: 200_000 },
  });
  client.on('error', () => {});
  closers.push(
    () => server.close(),
    () => client.destroy(),
  );
  return { server, client };
}

async function exchange(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer,
): Promise<{ headers: http2.IncomingHttpHeaders; body: Buffer }> {
  const stream = client.request(headers, { endStream: body === undefined });
  const response = once(stream, 'response');
  if (body !== undefined) stream.end(body);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const [received] = (await response) as [http2.IncomingHttpHeaders];
  return { headers: received, body: Buffer.concat(chunks) };
}

describe('a node:http2 client of our server', () => {
  it('gets answers with and without bodies', async () => {
    const { client } = await serve();
    const got = await exchange(client, { ':path': '/' });
    expect(got.headers[':status']).toBe(200);
    expect(got.body.toString()).toBe('weft speaks HTTP/2');
    const posted = await exchange(client, { ':path': '/', ':method': 'POST' }, Buffer.from('ping'));
    expect(posted.headers['x-method']).toBe('POST');
    expect(posted.body.toString()).toBe('ping');
  });

  it('gets big bodies back unchanged, eight at once', async () => {
    const { server, client } = await serve({ settings: LARGE });
    const bodies = Array.from({ length: 8 }, (_, i) => randomBytes(1_000_000 + i * 77_777));
    const echoed = await Promise.all(
      bodies.map((body) => exchange(client, { ':path': '/', ':method': 'POST' }, body)),
    );
    echoed.forEach((got, i) => expect(sha(got.body)).toBe(sha(bodies[i] as Buffer)));
    expect(server.sessions[0]?.openStreams).toBe(0);
  });

  it('understands our HPACK over many requests, and we its', async () => {
    const seen: (readonly Header[])[] = [];
    const { client } = await serve({
      onStream: (stream, headers) => {
        seen.push(headers);
        stream.respond([[':status', '200'], ...headers.filter(([name]) => name.startsWith('x-'))], true);
        return undefined;
      },
    });
    for (let i = 0; i < 200; i += 1) {
      const extra: Record<string, string> = {};
      for (let j = 0; j < i % 7; j += 1)
        extra[`x-h${(i * j) % 40}`] = 'v'.repeat((i * 13 + j) % 300) + String(i % 5);
      const got = await exchange(client, { ':path': `/${i % 3}`, cookie: `a=${i}`, ...extra });
      for (const [name, value] of Object.entries(extra)) {
        expect(got.headers[name]).toBe(value);
        expect(headerValue(seen[i] as Header[], name)).toBe(value);
      }
    }
  });

  it('tunnels with CONNECT, half-closes, and sees resets', async () => {
    const { client } = await serve({
      onStream: (stream, headers, endStream) => {
        expect(headers.map(([name]) => name)).toEqual([':method', ':authority']);
        expect(endStream).toBe(false);
        if (headerValue(headers, ':authority') === 'refused:1') {
          stream.reset(ErrorCode.CONNECT_ERROR);
          return undefined;
        }
        stream.respond([[':status', '200']], false);
        return collectThenAnswer(stream);
      },
    });
    const tunnel = await exchange(
      client,
      { ':method': 'CONNECT', ':authority': '10.0.0.1:80' },
      Buffer.from('through'),
    );
    expect(tunnel.body.toString()).toBe('all of 7');
    const refused = client.request({ ':method': 'CONNECT', ':authority': 'refused:1' }, { endStream: false });
    await expect(once(refused, 'end')).rejects.toThrow(/NGHTTP2_CONNECT_ERROR/);
    expect(refused.rstCode).toBe(ErrorCode.CONNECT_ERROR);
  });

  it('sends and gets trailers', async () => {
    const trailers: (readonly Header[])[] = [];
    const { client } = await serve({
      onStream: (stream) => {
        stream.respond([[':status', '200']], false);
        return {
          onHeaders: (headers) => void trailers.push(headers),
          onData: (_slab, _offset, length) => stream.consume(length),
          onEnd: () => stream.trailers([['x-sum', '42']]),
          onReset: () => {},
          onWritable: () => {},
        };
      },
    });
    const stream = client.request({ ':path': '/', ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sent': '1' }));
    stream.end('body');
    stream.resume();
    const [received] = (await once(stream, 'trailers')) as [http2.IncomingHttpHeaders];
    expect(received['x-sum']).toBe('42');
    expect(trailers).toEqual([[['x-sent', '1']]]);
  });

  it('is told to go away, and finishes what it began', async () => {
    const { server, client } = await serve();
    const stream = client.request({ ':path': '/', ':method': 'POST' }, { endStream: false });
    await once(stream, 'response');
    const goaway = once(client, 'goaway');
    server.sessions[0]?.goaway(ErrorCode.NO_ERROR);
    server.sessions[0]?.goaway(ErrorCode.NO_ERROR);
    expect((await goaway).slice(0, 2)).toEqual([0, 2 ** 31 - 1]);
    stream.end('last words');
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe('last words');
  });

  it('a stream it does not read does not hold up another', async () => {
    const { client } = await serve({ settings: LARGE, bound: 65_536 });
    const slow = client.request({ ':path': '/', ':method': 'POST' });
    slow.pause();
    slow.end(randomBytes(3_000_000));
    const body = randomBytes(5_000_000);
    const fast = await exchange(client, { ':path': '/', ':method': 'POST' }, body);
    expect(sha(fast.body)).toBe(sha(body));
    slow.destroy();
  });
});

// Our session as client, node:http2 as server

interface Client {
  readonly session: H2Session;
  readonly closed: Promise<H2Error | undefined>;
  readonly goaways: number[];
  readonly pongs: string[];
}

async function dial(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: {
    readonly bound?: number;
    readonly settings?: http2.Settings;
  } = {},
): Promise<Client> {
  // Its default of 10 MB a session would refuse a second stream beside a slow one.
  const server = http2.createServer({ settings: options.settings ?? {}, maxSessionMemory: 200 });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    onStream(stream as http2.ServerHttp2Stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  closers.push(async () => {
    socket.destroy();
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const transport = new SocketTransport(socket, options);
  const goaways: number[] = [];
  const pongs: string[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<H2Error | undefined>();
  const session = new H2Session(
    transport,
    {
      onGoaway: (last, code) => goaways.push(last, code),
      onPong: (payload) => pongs.push(Buffer.from(payload).toString()),
      onClosed: resolve,
    },
    { role: 'client', settings: LARGE, connectionWindow: 16_777_216, now: () => systemClock.monotonic() },
  );
  transport.attach(session);
  session.start();
  return { session, closed, goaways, pongs };
}

interface Answer {
  readonly headers: (readonly Header[])[];
  readonly body: Buffer;
  /** -1 if the stream ended in order. */
  readonly resetCode: number;
}

interface Call {
  readonly stream: H2Stream;
  readonly answer: Promise<Answer>;
}

function call(
  session: H2Session,
  headers: readonly Header[],
  body?: Buffer,
  pausedUntil?: Promise<void>,
): Call {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const lists: (readonly Header[])[] = [];
  const chunks: Buffer[] = [];
  let pump: StreamPump | undefined;
  let held = 0;
  let paused = pausedUntil !== undefined;
  const finish = (resetCode: number): void =>
    resolve({ headers: lists, body: Buffer.concat(chunks), resetCode });
  const stream = session.request(headers, body === undefined, {
    onHeaders: (list) => lists.push(list),
    onData: (slab, offset, length) => {
      chunks.push(Buffer.copyBytesFrom(slab.bytes, offset, length));
      if (paused) held += length;
      else (stream as H2Stream).consume(length);
    },
    onEnd: () => finish(-1),
    onReset: finish,
    onWritable: () => pump?.run(),
  });
  if (stream === undefined) throw new Error('No stream could be opened');
  void pausedUntil?.then(() => {
    paused = false;
    stream.consume(held);
    session.flush();
  });
  if (body !== undefined) {
    pump = new StreamPump(stream);
    pump.push(body);
    pump.end();
  }
  session.flush();
  return { stream, answer: promise };
}

const request = (method: string, path = '/'): Header[] => [
  [':method', method],
  [':scheme', 'http'],
  [':authority', 'localhost'],
  [':path', path],
];

describe('our client of a node:http2 server', () => {
  it('sends big bodies and gets them back unchanged, through a narrow transport', async () => {
    const { session } = await dial(
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      },
      { bound: 30_000 },
    );
    const bodies = Array.from({ length: 6 }, (_, i) => randomBytes(700_000 + i * 99_999));
    const answers = await Promise.all(bodies.map((body) => call(session, request('POST'), body).answer));
    answers.forEach((answer, i) => expect(sha(answer.body)).toBe(sha(bodies[i] as Buffer)));
    expect(session.openStreams).toBe(0);
  });

  it('hears informational headers, headers and trailers in order', async () => {
    const { session } = await dial((stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
      stream.end('body');
    });
    const { headers, body } = await call(session, request('GET')).answer;
    expect(headers.map((list) => list[0])).toEqual([
      [':status', '103'],
      [':status', '200'],
      ['x-sum', '1'],
    ]);
    expect(body.toString()).toBe('body');
  });

  it('opens tunnels with CONNECT', async () => {
    const { session } = await dial((stream, headers) => {
      stream.respond({ ':status': 200, 'x-to': `${headers[':method']} ${headers[':authority']}` });
      stream.pipe(stream);
    });
    const connect: Header[] = [
      [':method', 'CONNECT'],
      [':authority', '[fd00::1]:80'],
    ];
    const { headers, body } = await call(session, connect, Buffer.from('hello')).answer;
    expect(headers[0]).toContainEqual(['x-to', 'CONNECT [fd00::1]:80']);
    expect(body.toString()).toBe('hello');
  });

  it('a stream that is not consumed stops itself while another runs at full length', async () => {
    const big = randomBytes(20_000_000);
    const { session } = await dial((stream) => {
      stream.respond({ ':status': 200 });
      stream.end(big);
    });
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const slow = call(session, request('GET', '/slow'), undefined, released);
    const fast = await call(session, request('GET', '/fast')).answer;
    expect(fast.resetCode).toBe(-1);
    expect(sha(fast.body)).toBe(sha(big));
    release();
    expect(sha((await slow.answer).body)).toBe(sha(big));
  });

  it('sees resets with their code, and its own reset reaches the server', async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<number | undefined>();
    const { session } = await dial((stream, headers) => {
      if (headers[':path'] === '/reset') stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      else stream.on('close', () => resolve(stream.rstCode));
    });
    const { resetCode } = await call(session, request('GET', '/reset')).answer;
    expect(resetCode).toBe(ErrorCode.REFUSED_STREAM);
    const { stream } = call(session, request('POST', '/hold'), Buffer.from('x'));
    stream.reset(ErrorCode.CANCEL);
    session.flush();
    expect(await aborted).toBe(ErrorCode.CANCEL);
  });

  it("pings, and keeps to the server's limit of streams", async () => {
    const client = await dial((stream) => stream.end('ok'), { settings: { maxConcurrentStreams: 2 } });
    const { session } = client;
    session.ping(Buffer.from('liveness'));
    session.flush();
    await call(session, request('GET')).answer;
    expect(client.pongs).toEqual(['liveness']);
    expect(session.remote).toMatchObject({ received: true, maxConcurrentStreams: 2 });
    const held = [call(session, request('GET')), call(session, request('GET'))];
    expect(session.canOpen).toBe(false);
    await Promise.all(held.map(({ answer }) => answer));
    expect(session.canOpen).toBe(true);
  });

  it('drains on GOAWAY and ends without error', async () => {
    const client = await dial((stream) => {
      stream.session?.close();
      stream.respond({ ':status': 200 });
      stream.end('last');
    });
    const { body, resetCode } = await call(client.session, request('GET')).answer;
    expect([body.toString(), resetCode]).toEqual(['last', -1]);
    expect(await client.closed).toBeUndefined();
    expect(client.goaways.slice(0, 2)).toEqual([1, 0]);
    expect(client.session.canOpen).toBe(false);
  });

  it('tells streams of a lost connection', async () => {
    const { session, closed } = await dial((stream) => stream.session?.destroy());
    const { resetCode } = await call(session, request('POST'), Buffer.alloc(10)).answer;
    expect(resetCode).not.toBe(ErrorCode.NO_ERROR);
    await closed;
  });
});

function collectThenAnswer(stream: H2Stream): StreamHandler {
  let bytes = 0;
  const pump = new StreamPump(stream);
  return {
    onData: (_slab, _offset, length) => {
      bytes += length;
      stream.consume(length);
    },
    onEnd: () => {
      pump.push(Buffer.from(`all of ${bytes}`));
      pump.end();
    },
    onReset: () => {},
    onWritable: () => pump.run(),
  };
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
