import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openDescriptors } from '../../mesh/io/testing/leaks.ts';
import { ask } from '../testing/ask.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

async function world(handler: RequestListener, settings: ConstructorParameters<typeof PlaneRig>[0] = {}) {
  const rig = new PlaneRig(settings);
  const target = await rig.serve(createServer(handler));
  const service = rig.service('api', [target]);
  return { rig, service, port: rig.listen(service), target };
}

describe('HTTP/1.1 to HTTP/1.1', () => {
  it('carries a request there and its answer back, with what only a proxy can say', async () => {
    const before = openDescriptors();
    {
      const seen: IncomingMessage['headers'][] = [];
      const { rig, port } = await world((incoming, outgoing) => {
        seen.push(incoming.headers);
        outgoing.setHeader('x-answer', `${incoming.method} ${incoming.url}`).end('hello');
      });
      await using _rig = rig;
      const answer = await ask(rig, port, {
        path: '/a?b=c',
        headers: { host: 'api.shop', 'x-forwarded-for': '1.2.3.4', 'x-forwarded-client-cert': 'Hash=forged' },
      });
      expect([answer.status, answer.body.toString(), answer.headers['x-answer']]).toEqual([
        200,
        'hello',
        'GET /a?b=c',
      ]);
      expect(seen[0]).toMatchObject({ host: 'api.shop', 'x-forwarded-for': '1.2.3.4, 127.0.0.1' });
      expect(seen[0]?.['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      expect(seen[0]).not.toHaveProperty('x-forwarded-client-cert');
      expect(await rig.record()).toMatchObject({
        status: 200,
        flag: '',
        attempts: 1,
        responseBytes: 5,
        version: '1.1',
        endpointAddress: '127.0.0.1',
      });
    }
    expect(openDescriptors()).toBe(before);
  });

  it('reuses connections on both sides', async () => {
    const ports = new Set<number | undefined>();
    const { rig, port } = await world((incoming, outgoing) => {
      ports.add(incoming.socket.remotePort);
      outgoing.end('x');
    });
    await using _rig = rig;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 20; i++) expect((await ask(rig, port, { agent })).status).toBe(200);
    expect(ports.size).toBe(1);
    agent.destroy();
  });

  it('carries bodies, chunked and trailers both ways', async () => {
    const { rig, port } = await world((incoming, outgoing) => {
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('end', () => {
        outgoing.writeHead(200, { trailer: 'x-sum' });
        outgoing.write(Buffer.concat(parts));
        outgoing.addTrailers({ 'x-sum': String(Buffer.concat(parts).length) });
        outgoing.end();
      });
    });
    await using _rig = rig;
    const body = Buffer.alloc(3_000_000, 'abc');
    const answer = await ask(rig, port, { method: 'POST', body });
    expect(answer.body.equals(body)).toBe(true);
    expect(answer.trailers).toEqual({ 'x-sum': '3000000' });
    expect(await rig.record()).toMatchObject({ requestBytes: 3_000_000, responseBytes: 3_000_000 });
  });

  it('answers HEAD without a body and keeps the length', async () => {
    const { rig, port } = await world((_incoming, outgoing) =>
      outgoing.setHeader('content-length', '42').end(),
    );
    await using _rig = rig;
    const answer = await ask(rig, port, { method: 'HEAD' });
    expect([answer.status, answer.headers['content-length'], answer.body.length]).toEqual([200, '42', 0]);
  });

  it('passes 103 and 100-continue on', async () => {
    const { rig, port } = await world((_incoming, outgoing) => {
      outgoing.writeEarlyHints({ link: '</style.css>; rel=preload' });
      outgoing.end('done');
    });
    await using _rig = rig;
    const outgoing = request({ port, host: '127.0.0.1', agent: false });
    const hints: unknown[] = [];
    outgoing.on('information', (info) => hints.push(info.statusCode));
    outgoing.end();
    const [message] = (await rig.until('the answer', once(outgoing, 'response'))) as [IncomingMessage];
    message.resume();
    await rig.until('the end', once(message, 'end'));
    expect(hints).toEqual([103]);
  });

  it('joins an upgraded connection both ways (WebSocket)', async () => {
    const server = createServer();
    server.on('upgrade', (_incoming, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      socket.pipe(socket);
    });
    const rig = new PlaneRig();
    await using _rig = rig;
    const service = rig.service('api', [await rig.serve(server)]);
    const port = rig.listen(service);
    const outgoing = request({
      port,
      host: '127.0.0.1',
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-key': 'x',
        'sec-websocket-version': '13',
      },
    });
    outgoing.end();
    const [message, socket] = (await rig.until('the upgrade', once(outgoing, 'upgrade'))) as [
      IncomingMessage,
      Socket,
    ];
    expect(message.statusCode).toBe(101);
    socket.write('ping');
    const [echo] = (await rig.until('the echo', once(socket, 'data'))) as [Buffer];
    expect(echo.toString()).toBe('ping');
    socket.end();
    await rig.until('the end', once(socket, 'close'));
    expect(await rig.record()).toMatchObject({ status: 101, flag: '', requestBytes: 4, responseBytes: 4 });
  });
});

describe('a service that misbehaves', () => {
  it('answers 503 UF when nobody listens, after other endpoints were tried', async () => {
    const rig = new PlaneRig();
    await using _rig = rig;
    const free = await rig.serve(createServer());
    const service = rig.service('api', []);
    rig.endpoints(service, [1]);
    void free;
    const answer = await ask(rig, rig.listen(service));
    expect([answer.status, answer.body.toString()]).toEqual([503, 'no connection to the service\n']);
    expect(await rig.record()).toMatchObject({ flag: 'UF', status: 503, attempts: 3 });
  });

  it('answers 503 UH when there is no endpoint', async () => {
    const rig = new PlaneRig();
    await using _rig = rig;
    expect((await ask(rig, rig.listen(rig.service('api', [])))).status).toBe(503);
    expect(await rig.record()).toMatchObject({ flag: 'UH', attempts: 0 });
  });

  it('hides a dead endpoint beside a living one', async () => {
    const { rig, service, port, target } = await world((_incoming, outgoing) => outgoing.end('alive'));
    await using _rig = rig;
    rig.endpoints(service, [1, target]);
    for (let i = 0; i < 20; i++) expect((await ask(rig, port)).body.toString()).toBe('alive');
  });

  it('answers 503 UC for a POST whose endpoint closes before it answers, and sends it once', async () => {
    let requests = 0;
    const { rig, port } = await world((incoming) => {
      requests++;
      incoming.socket.destroy();
    });
    await using _rig = rig;
    expect((await ask(rig, port, { method: 'POST', body: 'x' })).status).toBe(503);
    expect(await rig.record()).toMatchObject({ flag: 'UC', attempts: 1 });
    expect(requests).toBe(1);
  });

  it('cuts the answer where the endpoint cut it, so that the client sees it is not whole', async () => {
    const { rig, port } = await world((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '100' });
      outgoing.write('half');
      setImmediate(() => outgoing.socket?.destroy());
    });
    await using _rig = rig;
    await expect(ask(rig, port)).rejects.toThrow(/aborted/);
    expect(await rig.record()).toMatchObject({ flag: 'UC', status: 200 });
  });

  it('answers 504 UT when the time of the route is over, and leaves nothing behind', async () => {
    const { rig, service, port } = await world(() => {});
    await using _rig = rig;
    rig.routes(service, {
      http: [rule([service], { timeouts: { requestMs: 60, backendRequestMs: undefined } })],
    });
    expect((await ask(rig, port)).status).toBe(504);
    expect(await rig.record()).toMatchObject({ flag: 'UT', status: 504, attempts: 1 });
  });

  it('survives a stale connection: a GET is sent again on a fresh one', async () => {
    let stale = false;
    const { rig, port } = await world((incoming, outgoing) => {
      if (stale) {
        stale = false;
        incoming.socket.destroy();
      } else outgoing.end('ok');
    });
    await using _rig = rig;
    expect((await ask(rig, port)).status).toBe(200);
    stale = true;
    expect((await ask(rig, port)).status).toBe(200);
    expect(await rig.record(1)).toMatchObject({ attempts: 2, flag: '' });
  });
});

describe('a client that misbehaves', () => {
  it('cancels the request at the endpoint when the client goes away', async () => {
    let closed = false;
    const { rig, port } = await world((incoming) => {
      incoming.on('close', () => {
        closed = true;
      });
    });
    await using _rig = rig;
    const socket = connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await rig.when('the request', () => rig.plane.active.requests === 1);
    await rig.when('the try', () => rig.plane.upstreamConnections.connections === 1);
    socket.destroy();
    expect(await rig.record()).toMatchObject({ flag: 'DC', status: 0 });
    await rig.when('the endpoint to see it', () => closed);
  });
});

describe('a client that says nothing at first', () => {
  it('does not get past the routes of a service by it', async () => {
    const { rig, service, port } = await world((_incoming, outgoing) => outgoing.end('reached'));
    await using _rig = rig;
    rig.routes(service, {
      http: [
        rule([service], {
          matches: [
            {
              path: { kind: 'exact', value: '/open' },
              method: undefined,
              headers: [],
              query: [],
              grpc: undefined,
            },
          ],
        }),
      ],
    });
    const socket = connect(port, '127.0.0.1');
    await rig.when('the connection', () => rig.plane.active.connections === 1);
    const later = rig.reactor.now + 300;
    await rig.when('the time of a server-first protocol to be over', () => rig.reactor.now > later);
    socket.write('GET /closed HTTP/1.1\r\nhost: x\r\n\r\n');
    const [answer] = (await rig.until('the answer', once(socket, 'data'))) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 404 /);
    socket.destroy();
  });

  it('is told goodbye when it says nothing for as long as a head may take', async () => {
    const { rig, service, port } = await world((_incoming, outgoing) => outgoing.end('reached'), {
      headTimeoutMs: 40,
    });
    await using _rig = rig;
    rig.routes(service, { http: [rule([service])] });
    const socket = connect(port, '127.0.0.1').resume();
    await rig.until('the end', once(socket, 'end'));
    socket.destroy();
    await rig.when('nothing to be left', () => rig.plane.active.connections === 0);
  });
});
