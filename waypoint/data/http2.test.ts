import { once } from 'node:events';
import { createServer as createHttp1, type RequestListener } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectTcp, createServer as createTcp, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openDescriptors } from '../../mesh/io/testing/leaks.ts';
import type { ServicePort } from '../../mesh/model/service.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function world(handler: Handler, appProtocol: ServicePort['appProtocol'] = 'http2') {
  const rig = new PlaneRig();
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    handler(stream, headers);
  });
  const target = await rig.serve(server);
  const service = rig.service('api', [target], { appProtocol });
  return { rig, service, server, ...client(rig, rig.listen(service)) };
}

function client(rig: PlaneRig, port: number): { session: ClientHttp2Session; port: number } {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  rig.onClose(async () => {
    const closed = session.closed && session.destroyed ? undefined : once(session, 'close');
    session.destroy();
    if (closed !== undefined) await rig.until('the client to close', closed);
  });
  return { session, port };
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: string;
}

async function finish(rig: PlaneRig, stream: ClientHttp2Stream): Promise<Answer> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const parts: Buffer[] = [];
  stream.on('response', (got) => {
    headers = got;
  });
  stream.on('trailers', (got) => {
    trailers = got;
  });
  stream.on('data', (part: Buffer) => parts.push(part));
  await rig.until('the answer', once(stream, 'end'));
  return { headers, trailers, body: Buffer.concat(parts).toString() };
}

describe('HTTP/2 to HTTP/2', () => {
  it('carries requests of one connection side by side, and leaves nothing behind', async () => {
    const before = openDescriptors();
    {
      const { rig, session } = await world((stream, headers) => {
        stream.respond({ ':status': 200, 'x-path': headers[':path'] });
        stream.end(`hello ${headers[':authority']}`);
      });
      await using _rig = rig;
      const streams = Array.from({ length: 50 }, (_, i) =>
        session.request({ ':path': `/${i}`, ':authority': 'api' }),
      );
      const answers = await Promise.all(streams.map((stream) => finish(rig, stream)));
      expect(answers.map(({ headers }) => headers['x-path'])).toEqual(streams.map((_, i) => `/${i}`));
      expect(answers[0]?.body).toBe('hello api');
      await rig.when('the records', () => rig.requests.length === 50);
      expect(rig.plane.upstreamConnections.connections).toBe(1);
    }
    expect(openDescriptors()).toBe(before);
  });

  it('streams both ways at once, with trailers', async () => {
    const { rig, session } = await world((stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }));
      stream.pipe(stream);
    });
    await using _rig = rig;
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false });
    const answer = finish(rig, stream);
    const echoes: string[] = [];
    stream.on('data', (part: Buffer) => echoes.push(part.toString()));
    for (const word of ['one', 'two', 'three']) {
      const had = echoes.length;
      stream.write(word);
      await rig.when('the echo', () => echoes.length > had);
    }
    stream.end();
    expect(await answer).toMatchObject({ body: 'onetwothree', trailers: { 'x-end': 'yes' } });
  });

  it('passes a cancellation on, and nobody else is hurt', async () => {
    let cancelled = 0;
    const { rig, session } = await world((stream, headers) => {
      if (headers[':path'] === '/slow') {
        stream.respond({ ':status': 200 });
        stream.write('begun');
        stream.on('close', () => {
          cancelled = stream.rstCode;
        });
      } else stream.respond({ ':status': 204 }, { endStream: true });
    });
    await using _rig = rig;
    const stream = session.request({ ':path': '/slow' });
    stream.on('error', () => {});
    await rig.until('the beginning', once(stream, 'data'));
    stream.close(8);
    await rig.when('the endpoint to see it', () => cancelled !== 0);
    expect(cancelled).toBe(8);
    expect(await rig.record()).toMatchObject({ flag: 'DC', status: 200 });
    expect((await finish(rig, session.request({ ':path': '/' }))).headers[':status']).toBe(204);
  });

  it('tells the client by a reset when the endpoint resets in the middle of an answer', async () => {
    const { rig, session } = await world((stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half', () => stream.destroy(new Error('broken')));
    });
    await using _rig = rig;
    const stream = session.request({ ':path': '/' });
    stream.resume();
    const [error] = (await rig.until(
      'the error',
      once(stream, 'error').catch((e: unknown) => [e]),
    )) as [Error];
    expect(error.message).toMatch(/INTERNAL_ERROR/);
    expect(await rig.record()).toMatchObject({ flag: 'UR', status: 200 });
  });

  it('holds back a client whose endpoint reads slowly, stream by stream', async () => {
    let slow: ServerHttp2Stream | undefined;
    const { rig, session } = await world((stream, headers) => {
      if (headers[':path'] === '/slow') slow = stream.pause();
      else stream.respond({ ':status': 200 }, { endStream: true });
    });
    await using _rig = rig;
    const stream = session.request({ ':method': 'POST', ':path': '/slow' }, { endStream: false });
    // Node's own sessions refuse streams with 10 MB waiting.
    const body = Buffer.alloc(6_000_000, 'x');
    stream.end(body);
    await rig.when('the request', () => slow !== undefined);
    // Others of both connections go on.
    expect((await finish(rig, session.request({ ':path': '/' }))).headers[':status']).toBe(200);
    expect(rig.plane.budget.used).toBeLessThan(2 * 1024 * 1024);
    let received = 0;
    slow?.on('data', (part: Buffer) => {
      received += part.length;
    });
    slow?.on('end', () => slow?.respond({ ':status': 200 }, { endStream: true }));
    slow?.resume();
    await finish(rig, stream);
    expect(received).toBe(body.length);
  });

  it('makes another connection when an endpoint takes no more streams at once', async () => {
    const held: ServerHttp2Stream[] = [];
    const rig = new PlaneRig();
    await using _rig = rig;
    const server = createServer({ settings: { maxConcurrentStreams: 2 } });
    server.on('stream', (stream: ServerHttp2Stream) => held.push(stream));
    const service = rig.service('api', [await rig.serve(server)], { appProtocol: 'http2' });
    const { session } = client(rig, rig.listen(service));
    const first = session.request({ ':path': '/' });
    await rig.when('the first stream', () => held.length === 1);
    const others = Array.from({ length: 4 }, () => session.request({ ':path': '/' }));
    await rig.when('all streams', () => held.length === 5);
    expect(rig.plane.upstreamConnections.connections).toBe(3);
    for (const stream of held) stream.respond({ ':status': 204 }, { endStream: true });
    const answers = await Promise.all([first, ...others].map((stream) => finish(rig, stream)));
    expect(answers.map(({ headers }) => headers[':status'])).toEqual([204, 204, 204, 204, 204]);
  });

  it('sends refused requests again on a fresh connection, after GOAWAY', async () => {
    const { rig, session, server } = await world((stream) => {
      stream.respond({ ':status': 200 }, { endStream: true });
      stream.session?.goaway(0);
    });
    await using _rig = rig;
    void server;
    for (let i = 0; i < 10; i++)
      expect((await finish(rig, session.request({ ':path': '/' }))).headers[':status']).toBe(200);
  });
});

describe('a connection that leads nowhere', () => {
  it('is left by further requests after one was not answered on it in time', async () => {
    await using rig = new PlaneRig();
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) =>
      stream.respond({ ':status': 200 }, { endStream: true }),
    );
    const target = await rig.serve(server);
    const between: Socket[] = [];
    const way = createTcp((socket) => {
      const further = connectTcp(target, '127.0.0.1');
      further.on('error', () => {});
      socket.on('close', () => further.destroy());
      socket.pipe(further).pipe(socket);
      between.push(socket);
    });
    const service = rig.service('api', [await rig.serve(way)], { appProtocol: 'http2' });
    rig.routes(service, {
      http: [
        rule([service], {
          timeouts: { requestMs: 150, backendRequestMs: undefined },
          retry: { codes: [], attempts: 0, backoffMs: 0 },
        }),
      ],
    });
    const { session } = client(rig, rig.listen(service));
    const status = async () => (await finish(rig, session.request({ ':path': '/' }))).headers[':status'];
    expect(await status()).toBe(200);
    // Nothing is lost or closed as far as anybody can see: bytes just go nowhere.
    for (const socket of between)
      socket
        .unpipe()
        .resume()
        .on('data', () => {});
    expect(await status()).toBe(504);
    expect(await status()).toBe(200);
  });
});

describe('versions', () => {
  const hello: RequestListener = (incoming, outgoing) => {
    outgoing.setHeader('x-version', incoming.httpVersion);
    incoming.pipe(outgoing);
  };

  it('joins an HTTP/2 client with an HTTP/1.1 service', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('api', [await rig.serve(createHttp1(hello))], { appProtocol: 'http11' });
    const { session } = client(rig, rig.listen(service));
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false });
    stream.end('body');
    expect(await finish(rig, stream)).toMatchObject({ body: 'body', headers: { 'x-version': '1.1' } });
  });

  it('joins an HTTP/1.1 client with an HTTP/2 service', async () => {
    const { rig, port } = await world((stream, headers) => {
      stream.respond({ ':status': 200, 'x-method': headers[':method'] });
      stream.pipe(stream);
    });
    await using _rig = rig;
    const answer = await rig.until(
      'the answer',
      fetch(`http://127.0.0.1:${port}/`, {
        method: 'POST',
        body: 'body',
        headers: { connection: 'close' },
      }).then(async (response) => [response.headers.get('x-method'), await response.text()]),
    );
    expect(answer).toEqual(['POST', 'body']);
  });

  it('speaks the version of the client to a service that says nothing', async () => {
    const { rig, session } = await world(
      (stream) => stream.respond({ ':status': 200 }, { endStream: true }),
      'unknown',
    );
    await using _rig = rig;
    expect((await finish(rig, session.request({ ':path': '/' }))).headers[':status']).toBe(200);
  });
});

describe('local answers', () => {
  it('answers gRPC in its own way: 200, and the status in a trailers-only response', async () => {
    const { rig, session, service } = await world(() => {});
    await using _rig = rig;
    rig.routes(service, {
      http: [rule([service], { timeouts: { requestMs: 50, backendRequestMs: undefined } })],
    });
    const stream = session.request(
      { ':method': 'POST', ':path': '/a.B/C', 'content-type': 'application/grpc', te: 'trailers' },
      { endStream: false },
    );
    stream.write(Buffer.from([0, 0, 0, 0, 1, 7]));
    const answer = await finish(rig, stream);
    expect(answer.headers).toMatchObject({
      ':status': 200,
      'grpc-status': '4',
      'content-type': 'application/grpc',
    });
    expect(await rig.record()).toMatchObject({
      status: 200,
      grpcStatus: 4,
      flag: 'UT',
      grpc: true,
      requestMessages: 1,
    });
  });
});
