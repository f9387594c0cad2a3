// Endpoints that do what they should not, byte by byte: one clear status and flag each, and the next request is fine.

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ask } from '../testing/ask.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

/** An endpoint that answers each request head by `play`. */
async function scripted(
  play: (socket: Socket, number: number) => void,
  settings: ConstructorParameters<typeof PlaneRig>[0] = {},
) {
  const rig = new PlaneRig(settings);
  let requests = 0;
  const server = createServer((socket) => {
    let head = '';
    socket.on('data', (part) => {
      head += part.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      head = '';
      play(socket, requests++);
    });
  });
  const service = rig.service('api', [await rig.serve(server)], { appProtocol: 'http11' });
  return { rig, service, port: rig.listen(service) };
}

const fine = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

describe('an endpoint', () => {
  it.each([
    ['speaks no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n\r\n', 502, 'UPE'],
    ['floods with 1xx', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(10_000), 502, 'UPE'],
    [
      'switches protocols unasked',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      502,
      'UPE',
    ],
    ['says two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok', 502, 'UPE'],
    ['sends a head without end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(200_000)}`, 502, 'UPE'],
  ])('that %s is answered for', async (_what, bytes, status, flag) => {
    const { rig, port } = await scripted((socket, number) => socket.write(number < 3 ? bytes : fine));
    await using _rig = rig;
    expect((await ask(rig, port)).status).toBe(status);
    expect(await rig.record()).toMatchObject({ status, flag });
    expect((await ask(rig, port)).status).toBe(200);
  });

  it('that closes after the head of the answer is seen as cut by the client', async () => {
    const { rig, port } = await scripted((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'),
    );
    await using _rig = rig;
    await expect(ask(rig, port)).rejects.toThrow(/aborted|ECONNRESET/);
    expect(await rig.record()).toMatchObject({ flag: 'UC', status: 200 });
  });

  it('that breaks its chunked body is seen as cut by the client', async () => {
    const { rig, port } = await scripted((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n'),
    );
    await using _rig = rig;
    await expect(ask(rig, port)).rejects.toThrow(/aborted|ECONNRESET/);
    expect(await rig.record()).toMatchObject({ flag: 'UPE', status: 200 });
  });

  it('that ends a body by closing has it passed on in whole', async () => {
    const { rig, port } = await scripted((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nuntil the end'));
    await using _rig = rig;
    expect((await ask(rig, port)).body.toString()).toBe('until the end');
    expect(await rig.record()).toMatchObject({ flag: '', responseBytes: 13 });
  });

  it('that sends its answer a byte at a time is passed on a byte at a time', async () => {
    const { rig, port } = await scripted((socket) => {
      void (async () => {
        for (const byte of fine) {
          socket.write(byte);
          await delay(1);
        }
      })();
    });
    await using _rig = rig;
    expect((await ask(rig, port)).body.toString()).toBe('ok');
  });

  it('that stalls in the middle of its answer is cut when the time is over', async () => {
    const { rig, service, port } = await scripted((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nha'),
    );
    await using _rig = rig;
    rig.routes(service, {
      http: [rule([service], { timeouts: { requestMs: 700, backendRequestMs: undefined } })],
    });
    await expect(ask(rig, port)).rejects.toThrow(/aborted|ECONNRESET/);
    expect(await rig.record()).toMatchObject({ flag: 'UT', status: 200 });
  });

  it('that never answers is given up when nothing moves for the idle time', async () => {
    const { rig, port } = await scripted(() => {}, { idleTimeoutMs: 80 });
    await using _rig = rig;
    expect((await ask(rig, port)).status).toBe(504);
    expect(await rig.record()).toMatchObject({ flag: 'SI' });
  });

  it('that sends more than it announced does not poison the next answer', async () => {
    const { rig, port } = await scripted((socket, number) =>
      socket.write(number === 0 ? `${fine}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged` : fine),
    );
    await using _rig = rig;
    for (let i = 0; i < 3; i++) expect((await ask(rig, port)).body.toString()).toBe('ok');
  });

  it('that answers before it has the whole request ends the request, and the client is told', async () => {
    const { rig, port } = await scripted((socket) =>
      socket.write('HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n'),
    );
    await using _rig = rig;
    const outgoing = request({ port, host: '127.0.0.1', method: 'POST', agent: false });
    outgoing.on('error', () => {});
    outgoing.write('the beginning');
    const [message] = (await rig.until('the answer', once(outgoing, 'response'))) as [IncomingMessage];
    expect(message.statusCode).toBe(413);
    expect(await rig.record()).toMatchObject({ status: 413, flag: '' });
    outgoing.destroy();
  });
});

describe('a client', () => {
  it('that sends a byte at a time is served', async () => {
    const { rig, port } = await scripted((socket) => socket.write(fine));
    await using _rig = rig;
    const socket = connect(port, '127.0.0.1');
    const answer = once(socket, 'data');
    for (const byte of 'GET / HTTP/1.1\r\nhost: x\r\n\r\n') {
      socket.write(byte);
      for (let i = 0; i < 2; i++) rig.reactor.turn(1);
    }
    expect(String(((await rig.until('the answer', answer)) as [Buffer])[0])).toMatch(/^HTTP\/1.1 200/);
    socket.destroy();
  });

  it.each([
    ['speaks HTTP wrongly', 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n', 400],
    [
      'smuggles by two lengths',
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
      400,
    ],
    ['sends too large a head', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`, 431],
  ])('that %s is refused, and the refusal is told to the log', async (_what, bytes, status) => {
    const { rig, port } = await scripted((socket) => socket.write(fine));
    await using _rig = rig;
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(bytes);
    const [answer] = (await rig.until('the answer', once(socket, 'data'))) as [Buffer];
    expect(answer.toString()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await rig.when('the refusal', () => rig.refusals.length === 1);
    expect(rig.refusals[0]).toMatchObject({ status });
    socket.destroy();
  });

  it('of HTTP/1.0 that names no host gets its answer; the endpoint is given the host of the service', async () => {
    let head = '';
    await using rig = new PlaneRig();
    const server = createServer((socket) => {
      socket.on('data', (part) => {
        head += part.toString('latin1');
        socket.write(fine);
      });
    });
    const service = rig.service('named', [await rig.serve(server)]);
    const socket = connect(rig.listen(service), '127.0.0.1');
    socket.write('GET / HTTP/1.0\r\n\r\n');
    let answer = '';
    socket.on('data', (part) => (answer += part.toString('latin1')));
    await rig.until('the end', once(socket, 'end'));
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\nok$/);
    expect(head).toMatch(/^GET \/ HTTP\/1.1\r\n[^]*host: named.shop.svc.cluster.local\r\n/i);
    socket.destroy();
  });

  it('that does not read its answer holds back the endpoint, and nobody else', async () => {
    const { rig, port } = await scripted((socket, number) => {
      if (number > 0) return socket.write(fine);
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${50_000_000}\r\n\r\n`);
      return socket.write(Buffer.alloc(50_000_000));
    });
    await using _rig = rig;
    const slow = connect(port, '127.0.0.1').pause();
    slow.on('error', () => {});
    slow.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await rig.when('the answer to begin', () => rig.plane.budget.used > 0);
    expect((await ask(rig, port)).status).toBe(200);
    expect(rig.plane.budget.used).toBeLessThan(2 * 1024 * 1024);
    slow.destroy();
    await rig.when('the end', () => rig.plane.active.requests === 0);
    expect(await rig.record(1)).toMatchObject({ flag: 'DC', status: 200 });
  });
});
