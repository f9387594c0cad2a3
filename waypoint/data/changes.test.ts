// What changes under traffic must not be seen by clients: endpoints that come and go, routes, the end of the waypoint.

import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type Server,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { makePolicy } from '../../mesh/model/fixture.ts';
import { ask } from '../testing/ask.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

/** Requests one after the other by several clients until `stop`; resolves to the statuses. */
function load(
  rig: PlaneRig,
  port: number,
  clients: number,
): { stop: () => Promise<number[]>; count: () => number } {
  const statuses: number[] = [];
  let stopped = false;
  const agent = new Agent({ keepAlive: true });
  const one = async (): Promise<void> => {
    while (!stopped) {
      const outgoing = request({ port, host: '127.0.0.1', agent });
      outgoing.end();
      const [message] = (await once(outgoing, 'response')) as [IncomingMessage];
      statuses.push(message.statusCode ?? 0);
      message.resume();
      await once(message, 'end');
    }
  };
  const all = Promise.all(Array.from({ length: clients }, one));
  return {
    count: () => statuses.length,
    stop: async () => {
      stopped = true;
      await rig.until('the clients to end', all);
      agent.destroy();
      return statuses;
    },
  };
}

const ok: RequestListener = (_incoming, outgoing) => outgoing.end('ok');

describe('under traffic', () => {
  it('no request fails while endpoints are replaced one after the other', async () => {
    await using rig = new PlaneRig();
    const servers: Server[] = [];
    const add = async (): Promise<number> => {
      const server = createServer(ok);
      servers.push(server);
      return await rig.serve(server);
    };
    let ports = [await add(), await add()];
    const service = rig.service('api', ports);
    const clients = load(rig, rig.listen(service), 8);
    for (let i = 0; i < 6; i++) {
      const before = clients.count();
      await rig.when('requests', () => clients.count() > before + 100);
      // As a rollout does: the new one is ready, the old one is taken away, then ends what it has.
      ports = [...ports.slice(1), await add()];
      rig.endpoints(service, ports);
      servers[i]?.closeIdleConnections();
      servers[i]?.close();
    }
    const statuses = await clients.stop();
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(statuses.length).toBeGreaterThan(600);
  });

  it('no request fails when an endpoint dies without a word', async () => {
    await using rig = new PlaneRig();
    const sockets: Socket[] = [];
    const dying = createServer(ok).on('connection', (socket) => sockets.push(socket));
    const service = rig.service('api', [await rig.serve(dying), await rig.serve(createServer(ok))]);
    const clients = load(rig, rig.listen(service), 8);
    await rig.when('requests', () => clients.count() > 100);
    dying.close();
    for (const socket of sockets) socket.destroy();
    await rig.when('more requests', () => clients.count() > 400);
    const statuses = await clients.stop();
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
  });

  it('no request fails while routes, policies and services change', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('api', [await rig.serve(createServer(ok))]);
    const other = rig.service('other', [await rig.serve(createServer(ok))]);
    const clients = load(rig, rig.listen(service), 8);
    for (let i = 0; i < 20; i++) {
      const before = clients.count();
      await rig.when('requests', () => clients.count() > before + 20);
      rig.routes(service, { http: [rule([i % 2 === 0 ? other : service])] });
      rig.apply({ policies: [makePolicy('bank', `p${i}`)] });
    }
    expect((await clients.stop()).filter((status) => status !== 200)).toEqual([]);
  });

  it('drains: requests under way end well, connections say that they end, then the plane is idle', async () => {
    await using rig = new PlaneRig();
    let answer = (): void => {};
    const service = rig.service('api', [
      await rig.serve(
        createServer((incoming, outgoing) => {
          if (incoming.url === '/slow') answer = () => outgoing.end('slow');
          else outgoing.end('ok');
        }),
      ),
    ]);
    const port = rig.listen(service);
    const idle = connect(port, '127.0.0.1');
    idle.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await rig.until('an answer', once(idle, 'data'));
    const slow = ask(rig, port, { path: '/slow', agent: new Agent({ keepAlive: true }) });
    await rig.when('the slow request', () => rig.plane.active.requests === 1);
    let drained = false;
    rig.plane.drain(() => {
      drained = true;
    });
    idle.resume();
    await rig.until('the idle connection to end', once(idle, 'end'));
    expect(drained).toBe(false);
    await rig.when(
      'the request at the endpoint',
      () => answer.length === 0 && rig.plane.active.connections === 1,
    );
    answer();
    const { body, headers } = await slow;
    expect([body.toString(), headers.connection]).toEqual(['slow', 'close']);
    idle.destroy();
    await rig.when('the plane to be idle', () => drained);
  });
});

describe('a WebSocket', () => {
  it('talks both ways and is cut when a policy comes to deny it', async () => {
    await using rig = new PlaneRig();
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) =>
      socket.on('message', (data, binary) => socket.send(data, { binary })),
    );
    const service = rig.service('chat', [await rig.serve(server)]);
    const socket = new WebSocket(`ws://127.0.0.1:${rig.listen(service)}/chat`);
    socket.on('error', () => {});
    await rig.until('the handshake', once(socket, 'open'));
    const big = Buffer.alloc(1_000_000, 'z');
    for (const message of ['hello', big.toString()]) {
      socket.send(message);
      const [echo] = (await rig.until('the echo', once(socket, 'message'))) as [Buffer];
      expect(echo.toString()).toBe(message);
    }
    const closed = new Promise((resolve) => socket.once('close', resolve));
    rig.apply({ policies: [makePolicy('shop', 'nobody')] });
    await rig.until('the cut', closed);
    expect(await rig.record()).toMatchObject({ status: 101, flag: 'UAEX' });
    sockets.close();
  });

  it('is refused with the answer of the application when that declines', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('chat', [
      await rig.serve(createServer((_incoming, outgoing) => outgoing.writeHead(426).end('no'))),
    ]);
    const answer = await ask(rig, rig.listen(service), {
      headers: { connection: 'upgrade', upgrade: 'websocket' },
    });
    expect([answer.status, answer.body.toString()]).toEqual([426, 'no']);
  });
});
