import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openDescriptors } from '../../../mesh/io/testing/leaks.ts';
import { makePolicy } from '../../../mesh/model/fixture.ts';
import type { L4Rule } from '../../../mesh/model/routing.ts';
import type { Service } from '../../../mesh/model/service.ts';
import { PlaneRig, toService } from '../../testing/plane-rig.ts';

function echoServer(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
}

/** Sends its name first, as databases do. */
function greeter(name: string): Server {
  return createServer((socket) => {
    socket.write(name);
  });
}

function open(rig: PlaneRig, port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  rig.onClose(() => socket.destroy());
  return socket;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

async function read(rig: PlaneRig, socket: Socket): Promise<string> {
  const [data] = (await rig.until('bytes', once(socket, 'data'))) as [Buffer];
  return data.toString();
}

function l4(backends: readonly [Service, number][]): L4Rule {
  return {
    name: { kind: 'TCPRoute', namespace: 'shop', name: 'tcp', rule: '0' },
    backends: backends.map(([service, weight]) => toService(service.key, weight)),
  };
}

describe('TcpConnection', () => {
  it('passes bytes both ways, half-closes, and records what went', async () => {
    const before = openDescriptors();
    {
      await using rig = new PlaneRig();
      const service = rig.service('db', [await rig.serve(echoServer())], { appProtocol: 'tcp' });
      const socket = open(rig, rig.listen(service));
      const body = Buffer.alloc(5_000_000, 'xyz');
      const parts: Buffer[] = [];
      socket.on('data', (part: Buffer) => parts.push(part));
      socket.end(body);
      await rig.until('the end', closed(socket));
      expect(Buffer.concat(parts).equals(body)).toBe(true);
      await rig.when('the record', () => rig.connections.length === 1);
      expect(rig.connections[0]).toMatchObject({
        receivedBytes: body.length,
        sentBytes: body.length,
        flag: '',
        attempts: 1,
      });
    }
    expect(openDescriptors()).toBe(before);
  });

  it('takes a client that waits for the server to speak for TCP, where nobody said what it is', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('db', [await rig.serve(greeter('220 ready'))]);
    expect(await read(rig, open(rig, rig.listen(service)))).toBe('220 ready');
  });

  it('takes bytes that are no HTTP for TCP, and passes the first ones on', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('db', [await rig.serve(echoServer())]);
    const socket = open(rig, rig.listen(service));
    socket.write('\x00\x01\x02 binary');
    expect(await read(rig, socket)).toBe('\x00\x01\x02 binary');
  });

  it('goes to the backends of a TCPRoute by their weights', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('db', [], { appProtocol: 'tcp' });
    const blue = rig.service('blue', [await rig.serve(greeter('blue'))], { appProtocol: 'tcp' });
    const green = rig.service('green', [await rig.serve(greeter('green'))], { appProtocol: 'tcp' });
    rig.routes(service, {
      tcp: l4([
        [blue, 1],
        [green, 3],
      ]),
    });
    const port = rig.listen(service);
    const seen = { blue: 0, green: 0 };
    for (let i = 0; i < 8; i++) {
      const socket = open(rig, port);
      seen[(await read(rig, socket)) as 'blue' | 'green']++;
      socket.destroy();
    }
    expect(seen).toEqual({ blue: 2, green: 6 });
  });

  it('refuses what policies deny, and cuts what they deny later', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('db', [await rig.serve(echoServer())], { appProtocol: 'tcp' });
    const port = rig.listen(service);
    const socket = open(rig, port);
    socket.write('first');
    expect(await read(rig, socket)).toBe('first');
    const cut = closed(socket);
    rig.apply({ policies: [makePolicy('shop', 'nobody')] });
    await rig.until('the cut', cut);
    expect(rig.connections[0]).toMatchObject({ flag: 'UAEX' });
    const refused = open(rig, port);
    await rig.until('the refusal', closed(refused));
    expect(rig.connections[1]).toMatchObject({
      flag: 'UAEX',
      attempts: 0,
      details: expect.stringContaining('shop/nobody'),
    });
  });

  it('tries other endpoints while no byte was sent, and says UF when none can be reached', async () => {
    await using rig = new PlaneRig();
    const living = await rig.serve(greeter('alive'));
    const service = rig.service('db', [1, living], { appProtocol: 'tcp' });
    const port = rig.listen(service);
    for (let i = 0; i < 6; i++) {
      const socket = open(rig, port);
      expect(await read(rig, socket)).toBe('alive');
      socket.destroy();
    }
    rig.endpoints(service, [1, 2]);
    const socket = open(rig, port);
    await rig.until('the refusal', closed(socket));
    expect(rig.connections.at(-1)).toMatchObject({ flag: 'UF', attempts: 2 });
  });

  it('cuts a connection that is idle for too long', async () => {
    await using rig = new PlaneRig({ idleTimeoutMs: 60 });
    const service = rig.service('db', [await rig.serve(echoServer())], { appProtocol: 'tcp' });
    const socket = open(rig, rig.listen(service));
    await rig.until('the cut', closed(socket));
    expect(rig.connections[0]).toMatchObject({ flag: 'SI' });
  });

  it('stops reading a side whose other side is slow', async () => {
    await using rig = new PlaneRig({ bufferBudgetBytes: 4 * 1024 * 1024 });
    let server: Socket | undefined;
    const slow = createServer((socket) => {
      server = socket.pause();
    });
    const service = rig.service('db', [await rig.serve(slow)], { appProtocol: 'tcp' });
    const socket = open(rig, rig.listen(service));
    const body = Buffer.alloc(32 * 1024 * 1024);
    socket.end(body);
    await rig.when('the server', () => server !== undefined);
    let received = 0;
    server?.on('data', (part: Buffer) => {
      received += part.length;
    });
    server?.resume();
    await rig.when('all bytes', () => received === body.length);
    server?.end();
  });
});
