// What H2ServerConnection and H2ClientConnection add to a session, against node:http2.

import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Header } from '../h2/header.ts';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import { checkH2Request } from './h2-request-check.ts';
import { HttpWorld } from './testing/http-world.ts';
import { RecordedStream } from './testing/recorded-stream.ts';

let world: HttpWorld;
let before: number;
let requests: RecordedStream[];
let port: number;

beforeEach(() => {
  before = openDescriptors();
  world = new HttpWorld();
  requests = [];
  port = world.serve('h2', (stream, list) => {
    const recorded = new RecordedStream();
    recorded.stream = stream;
    recorded.head = list;
    requests.push(recorded);
    return recorded;
  });
});

afterEach(async () => {
  await world.close();
  expect(world.errors).toEqual([]);
  await expect.poll(openDescriptors).toBe(before);
});

const get = (path: string): Header[] => [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', path],
];

/** A request by our client. */
async function request(
  path: string,
): Promise<{ recorded: RecordedStream; connection: Awaited<ReturnType<HttpWorld['connect']>> }> {
  const connection = await world.connect('h2', port);
  return { recorded: ask(connection, path), connection };
}

function ask(connection: Awaited<ReturnType<HttpWorld['connect']>>, path: string): RecordedStream {
  const recorded = new RecordedStream();
  const stream = connection.request(get(path), true, recorded);
  if (stream === undefined) throw new Error('No request can be made');
  recorded.stream = stream;
  return recorded;
}

const answer = (index: number): void => requests[index]?.stream.respond([[':status', '204']], true);

describe('an HTTP/2 server', () => {
  it('drains: what is under way is answered, then the connection ends', async () => {
    const { recorded, connection } = await request('/1');
    await pump(world.reactor, 'the request', () => requests.length === 1);
    const [server] = world.servers;
    server?.drain();
    await pump(world.reactor, 'the client to know', () => !connection.canOpen);
    expect(recorded.events).toEqual([]);
    answer(0);
    await pump(world.reactor, 'both ends', () => world.servers.size + world.clients.size === 0);
    expect([recorded.take(), world.ends]).toEqual([['headers :status=204 end', 'end'], [undefined]]);
  });

  it('drains at once when nothing is under way', async () => {
    await request('/1');
    await pump(world.reactor, 'the request', () => requests.length === 1);
    answer(0);
    const [server] = world.servers;
    server?.drain();
    await pump(world.reactor, 'both ends', () => world.servers.size + world.clients.size === 0);
  });

  it('is destroyed with the requests on it', async () => {
    const { recorded } = await request('/1');
    await pump(world.reactor, 'the request', () => requests.length === 1);
    const [server] = world.servers;
    server?.destroy();
    expect([requests[0]?.take(), world.servers.size]).toEqual([['end', 'reset CONNECT_ERROR'], 0]);
    await pump(world.reactor, 'the client', () => world.clients.size === 0);
    expect(recorded.take()).toEqual(['reset CONNECT_ERROR']);
  });

  it('tells what a client speaks that does not speak HTTP/2', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await pump(world.reactor, 'the end', () => world.ends.length === 1);
    expect(world.ends[0]).toMatch(/^PROTOCOL_ERROR: /);
    socket.destroy();
  });

  it('makes :authority of Host, and refuses what HTTP/1.1 could not carry', async () => {
    const client = http2.connect(`http://127.0.0.1:${port}`);
    const ended = async (stream: http2.ClientHttp2Stream): Promise<number> => {
      const [headers] = (await pumpUntil(world.reactor, 'the answer', once(stream.resume(), 'response'))) as [
        http2.IncomingHttpHeaders,
      ];
      return Number(headers[':status']);
    };
    expect(await ended(client.request({ ':path': '/a b' }))).toBe(400);
    expect(await ended(client.request({ ':method': 'get' }))).toBe(400);
    expect(await ended(client.request({ ':method': 'CONNECT', ':authority': 'a:1' }))).toBe(501);
    expect(world.refusals).toEqual([
      '400 :path holds a forbidden octet',
      '400 the method holds a forbidden octet',
      '501 CONNECT',
    ]);
    client.destroy();
    await pump(world.reactor, 'the end', () => world.servers.size === 0);
  });
});

describe('an HTTP/2 client', () => {
  it('takes as many requests as the server allows, and says when there is room again', async () => {
    const { connection } = await request('/0');
    await pump(world.reactor, 'the first', () => requests.length === 1);
    while (connection.canOpen) ask(connection, `/${connection.openStreams}`);
    expect(connection.openStreams).toBe(100);
    expect(connection.request(get('/'), true, new RecordedStream())).toBeUndefined();
    await pump(world.reactor, 'all of them', () => requests.length === 100);
    answer(0);
    await pump(world.reactor, 'room', () => world.available === 1);
    expect(connection.canOpen).toBe(true);
  });

  it('ends after the requests under way when it is drained', async () => {
    const { recorded, connection } = await request('/1');
    await pump(world.reactor, 'the request', () => requests.length === 1);
    connection.drain();
    expect(connection.canOpen).toBe(false);
    answer(0);
    await pump(world.reactor, 'both ends', () => world.servers.size + world.clients.size === 0);
    expect(recorded.take().at(-1)).toBe('end');
  });

  it('has no upgrade', async () => {
    const connection = await world.connect('h2', port);
    const list: Header[] = [...get('/'), [':upgrade', 'websocket']];
    expect(() => connection.request(list, false, new RecordedStream())).toThrow('HTTP/2 has no upgrade');
  });
});

describe('checkH2Request()', () => {
  const check = (...more: Header[]) => checkH2Request([...get('/'), ...more], 256);

  it('gives a list back that is fine, and one without Host', () => {
    expect(check(['x', 'y'])).toEqual([...get('/'), ['x', 'y']]);
    expect(check(['host', 'a'], ['x', 'y'])).toEqual([
      [':authority', 'a'],
      ...get('/').filter(([name]) => name !== ':authority'),
      ['x', 'y'],
    ]);
    const hostOnly = checkH2Request(
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        ['host', 'b'],
      ],
      256,
    );
    expect(hostOnly).toEqual([
      [':authority', 'b'],
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
    ]);
  });

  it.each([
    [400, [['x(', 'y']]],
    [400, [['x', 'a\x01']]],
    [
      400,
      [
        ['host', 'a'],
        ['host', 'a'],
      ],
    ],
    [417, [['expect', 'more']]],
    [431, Array.from({ length: 256 }, (): Header => ['x', 'y'])],
  ] as const)('refuses with %i', (status, more) => {
    expect(check(...more)).toMatchObject({ status });
  });

  it('refuses a request for nobody', () => {
    expect(
      checkH2Request(
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
        ],
        256,
      ),
    ).toMatchObject({ status: 400 });
  });
});
