// A waypoint's process against clients and applications that do what they should not: one clear status and one flag in
// the log each, and a client that behaves beside them has every request answered meanwhile.

import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeKey, sign } from '../../waypoint/jwt/testing/issuer.ts';
import { Companion } from './companion.ts';
import { roughServer } from './rough-server.ts';
import { standingRoute, StandingWaypoint, targetOf } from './standing-waypoint.ts';

const issuer = 'https://issuer.test';
const gigabyte = 1024 ** 3;
const arrivals = new EventEmitter();
const server = roughServer((manner) => arrivals.emit(manner));
const sockets = new Set<Socket>();
let waypoint: StandingWaypoint;
let companion: Companion;

beforeAll(async () => {
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const target = (server.address() as AddressInfo).port;
  const nobody = connect(target, '127.0.0.1');
  await once(nobody, 'connect');
  nobody.destroy();
  waypoint = await StandingWaypoint.start({
    services: [
      ...['rough', 'good', 'limited', 'full', 'denied', 'tokens', 'patterns'].map((name) => ({
        name,
        target,
      })),
      { name: 'empty' },
      { name: 'refusing', target: 1 },
    ],
    objects: settings,
    flags: ['--head-timeout-ms=1500'],
  });
  await waypoint.inForce('rough', 'patterns');
}, 60_000);

afterAll(async () => {
  await waypoint?.[Symbol.asyncDispose]();
  for (const socket of sockets) socket.destroy();
  server.close();
});

const own = 'weft.dev/v1alpha1';
const settings: readonly object[] = [
  { apiVersion: own, kind: 'MeshConfig', metadata: { name: 'default' }, spec: { accessLog: 'FAILURES' } },
  standingRoute(
    'rough',
    'rough',
    [
      {
        matches: ['stall', 'stall-mid-body'].map((name) => prefix(`/${name}`)),
        timeouts: { request: '300ms' },
      },
      { matches: [prefix('/')] },
    ].map((rule) => ({ ...rule, backendRefs: [{ ...targetOf('rough'), port: 80 }] })),
  ),
  standingRoute('patterns', 'patterns', [
    {
      matches: ['(a+)+b', '(a|aa)+c', '(.*a){12}d'].map((value) => ({
        path: { type: 'RegularExpression', value: `/${value}` },
      })),
      backendRefs: [{ ...targetOf('patterns'), port: 80 }],
    },
  ]),
  policy('TrafficPolicy', 'limited', { rateLimits: [{ per: 'SourceIP', requests: 1, interval: '1h' }] }),
  policy('TrafficPolicy', 'full', { maxRequests: 1 }),
  policy('AuthorizationPolicy', 'denied', {
    action: 'DENY',
    rules: [{ name: 'nobody', to: [{ operation: { paths: ['/denied*'] } }] }],
  }),
  policy('RequestAuthentication', 'tokens', {
    // The discard port: nobody is there.
    jwtRules: [{ issuer, jwksUri: 'http://127.0.0.1:9/keys' }],
  }),
];

function prefix(value: string): object {
  return { path: { type: 'PathPrefix', value } };
}

function policy(kind: string, name: string, spec: object): object {
  return {
    apiVersion: own,
    kind,
    metadata: { name, namespace: 'shop' },
    spec: { targetRefs: [targetOf(name)], ...spec },
  };
}

beforeEach(() => {
  companion = new Companion(waypoint.port('good'));
});

afterEach(async () => {
  // It was answered while and after the other misbehaved.
  await companion.more(10);
  await companion[Symbol.asyncDispose]();
  expect(companion.failures).toEqual([]);
  expect(waypoint.running).toBe(true);
  // Nothing of that is a problem of the waypoint's own.
  expect(waypoint.log.lines().filter((line) => /\t(error|fatal)\t(?!access)/.test(line))).toEqual([]);
});

interface Outcome {
  /** 0 without an answer. */
  readonly status: number;
  /** Whether its body came whole. */
  readonly whole: boolean;
}

async function ask(service: string, path: string, headers: Record<string, string> = {}): Promise<Outcome> {
  const outgoing = get({ host: '127.0.0.1', port: waypoint.port(service), path, headers, agent: false });
  // After the answer's head the body tells.
  outgoing.on('error', () => {});
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  const whole = await text(answer).then(
    () => true,
    () => false,
  );
  return { status: answer.statusCode ?? 0, whole };
}

/** Sends the bytes as they are; what came back when the waypoint closed or, with `until`, when that has come. */
async function raw(service: string, bytes: string, until?: RegExp): Promise<string> {
  const socket = connect(waypoint.port(service), '127.0.0.1');
  socket.on('error', () => {});
  let received = '';
  const done = Promise.withResolvers<void>();
  socket.on('data', (part) => {
    received += part.toString('latin1');
    if (until?.test(received)) done.resolve();
  });
  socket.once('close', () => done.resolve());
  socket.write(bytes);
  await done.promise;
  socket.destroy();
  return received;
}

/** The flag of the line about the request. */
async function flagOf(path: string): Promise<string> {
  const line = await waypoint.logged(new RegExp(`request complete.*path="${path}`));
  return / response_flags=(\S+)/.exec(line)?.[1] ?? line;
}

describe('an application that', () => {
  it.each([
    ['reset-mid-body', 200, false, 'UC'],
    ['reset-mid-chunks', 200, false, 'UC'],
    ['close-after-head', 200, false, 'UC'],
    ['close-without-answer', 503, true, 'UC'],
    ['reset-without-answer', 503, true, 'UC'],
    ['flood-1xx', 502, true, 'UPE'],
    ['no-http', 502, true, 'UPE'],
    ['two-lengths', 502, true, 'UPE'],
    ['endless-head', 502, true, 'UPE'],
    ['broken-chunks', 200, false, 'UPE'],
    ['stall', 504, true, 'UT'],
    ['stall-mid-body', 200, false, 'UT'],
  ])('does %s: status %i, whole %s, flag %s', async (manner, status, whole, flag) => {
    expect(await ask('rough', `/${manner}/`)).toEqual({ status, whole });
    expect(await flagOf(`/${manner}/`)).toBe(flag);
    expect(await ask('rough', '/fine')).toEqual({ status: 200, whole: true });
  });

  it('is not there: 503, UF', async () => {
    expect(await ask('refusing', '/refused')).toEqual({ status: 503, whole: true });
    expect(await flagOf('/refused')).toBe('UF');
  });

  it('has no endpoint: 503, UH', async () => {
    expect(await ask('empty', '/nobody')).toEqual({ status: 503, whole: true });
    expect(await flagOf('/nobody')).toBe('UH');
  });
});

describe('a request that', () => {
  it('no route wants: 404, NR', async () => {
    expect((await ask('patterns', '/unrouted')).status).toBe(404);
    expect(await flagOf('/unrouted')).toBe('NR');
  });

  it('is one too many for its rate: 429, RL', async () => {
    expect((await ask('limited', '/first')).status).toBe(200);
    expect((await ask('limited', '/second')).status).toBe(429);
    expect(await flagOf('/second')).toBe('RL');
  });

  it('is one too many at once: 503, UO', async () => {
    const arrived = once(arrivals, 'stall');
    const first = get({ host: '127.0.0.1', port: waypoint.port('full'), path: '/stall', agent: false });
    first.on('error', () => {});
    await arrived;
    expect((await ask('full', '/overflow')).status).toBe(503);
    expect(await flagOf('/overflow')).toBe('UO');
    first.destroy();
  });

  it('a policy denies: 403, UAEX', async () => {
    expect((await ask('denied', '/denied')).status).toBe(403);
    expect(await flagOf('/denied')).toBe('UAEX');
    expect((await ask('denied', '/other')).status).toBe(200);
  });

  it('has a token whose issuer does not answer: 503, UAEX; without one it passes', async () => {
    const token = await sign(await makeKey('k1'), { iss: issuer, sub: 'ann' });
    expect((await ask('tokens', '/token', { authorization: `Bearer ${token}` })).status).toBe(503);
    expect(await flagOf('/token')).toBe('UAEX');
    expect((await ask('tokens', '/tokenless')).status).toBe(200);
  });

  it('would take a backtracking expression a lifetime: 404 or the route, as fast as any', async () => {
    const as = 'a'.repeat(6_000);
    expect((await ask('patterns', `/${as}`)).status).toBe(404);
    expect((await ask('patterns', `/${as}b`)).status).toBe(200);
    expect((await ask('patterns', `/${as}d`)).status).toBe(200);
  });
});

describe('a client that', () => {
  it('sends a head of 1 GB: 431', async () => {
    const received = await pour('GET / HTTP/1.1\r\nhost: x\r\n', `x-more: ${'y'.repeat(16_000)}\r\n`);
    expect(received).toMatch(/^HTTP\/1.1 431 /);
    await waypoint.logged(/connection refused.*response_code=431/);
  });

  it('sends one header line of 1 GB: 431', async () => {
    const received = await pour('GET / HTTP/1.1\r\nhost: x\r\nx-more: ', 'y'.repeat(16_000));
    expect(received).toMatch(/^HTTP\/1.1 431 /);
  });

  it('sends a head of 1 GB in HTTP/2 frames: the connection ends', async () => {
    const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
      const head = Buffer.alloc(9);
      head.writeUIntBE(payload.length, 0, 3);
      head.writeUInt8(type, 3);
      head.writeUInt8(flags, 4);
      head.writeUInt32BE(stream, 5);
      return Buffer.concat([head, payload]);
    };
    const begin = [
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(4, 0, 0, Buffer.alloc(0)),
      // GET, http, / of the static table; the head goes on in CONTINUATION.
      frame(1, 0, 1, Buffer.from([0x82, 0x86, 0x84])),
    ];
    // A literal field after the other: an `x` with 125 octets.
    const field = Buffer.concat([Buffer.from([0x00, 0x01, 0x78, 125]), Buffer.alloc(125, 'y')]);
    const continuation = frame(9, 0, 1, Buffer.concat(Array<Buffer>(120).fill(field)));
    const received = await pour(Buffer.concat(begin), continuation);
    // The waypoint's SETTINGS are the first frame, its GOAWAY with ENHANCE_YOUR_CALM or so the last.
    expect(received.charCodeAt(3)).toBe(4);
    expect(lastFrameType(received)).toBe(7);
  });

  it('sends a byte now and then and never ends its head: 408', async () => {
    const socket = connect(waypoint.port('rough'), '127.0.0.1');
    let received = '';
    socket.on('data', (part) => (received += part.toString('latin1')));
    socket.write('GET /slow HTTP/1.1\r\nhost: x\r\nx: ');
    const drip = setInterval(() => socket.write('y'), 100);
    const closed = once(socket, 'close');
    socket.on('error', () => {});
    await once(socket, 'end').catch(() => {});
    clearInterval(drip);
    socket.destroy();
    await closed;
    expect(received).toMatch(/^HTTP\/1.1 408 /);
    await waypoint.logged(/connection refused.*response_code=408/);
  });

  it('goes away in the middle of its body: DC', async () => {
    const socket = connect(waypoint.port('rough'), '127.0.0.1');
    socket.on('error', () => {});
    socket.write('POST /stall/short-body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nthe beginning');
    await companion.more(2);
    socket.destroy();
    expect(await flagOf('/stall/short-body')).toBe('DC');
  });

  it('sends more than it said: the rest is no request, 400', async () => {
    const bytes =
      'POST /fine/long-body HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nand more than that\r\n\r\n';
    const received = await raw('rough', bytes);
    expect(received).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*fineHTTP\/1.1 400 /);
    await waypoint.logged(/connection refused.*response_code=400/);
  });

  it('sends chunks that are none: 400, DPE', async () => {
    const bytes =
      'POST /stall/bad-chunks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n';
    expect(await raw('rough', bytes)).toMatch(/^HTTP\/1.1 400 /);
    expect(await flagOf('/stall/bad-chunks')).toBe('DPE');
  });

  it('opens streams over HTTP/2 and resets them at once: its connection ends', async () => {
    const session = connectHttp2(`http://127.0.0.1:${waypoint.port('rough')}`);
    session.on('error', () => {});
    const closed = new Promise((resolve) => session.once('close', resolve));
    let goaway = -1;
    session.once('goaway', (code: number) => (goaway = code));
    const flood = (): void => {
      for (let i = 0; i < 200 && !session.closed && !session.destroyed; i++) {
        const stream = session.request({ ':path': '/stall/reset' });
        stream.on('error', () => {});
        stream.close(constants.NGHTTP2_CANCEL);
      }
      if (!session.closed && !session.destroyed) setImmediate(flood);
    };
    flood();
    await closed;
    expect(goaway).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });

  it.each([
    ['two lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd'],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a folded line', 'GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n'],
    ['a space before the colon', 'GET / HTTP/1.1\r\nhost : x\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['a bare CR', 'GET / HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n'],
  ])('sends %s: 400', async (_what, bytes) => {
    expect(await raw('rough', bytes)).toMatch(/^HTTP\/1.1 400 /);
  });

  it('asks for a tunnel: refused', async () => {
    expect(await raw('rough', 'CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n', /\r\n\r\n/)).toMatch(
      /^HTTP\/1.1 (400|405|501) /,
    );
  });

  it('goes away before the answer: DC', async () => {
    // One that says `connection: close` may end its own direction and wait for the answer.
    const agent = new Agent({ keepAlive: true });
    const path = '/stall-mid-body/gone';
    const outgoing = get({ host: '127.0.0.1', port: waypoint.port('rough'), path, agent });
    outgoing.on('error', () => {});
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    answer.on('error', () => {});
    outgoing.destroy();
    agent.destroy();
    expect(await flagOf(path)).toBe('DC');
  });

  /** Of HTTP/2 frames one after the other, an octet a character. */
  function lastFrameType(frames: string): number {
    let type = -1;
    const bytes = Buffer.from(frames, 'latin1');
    for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) type = bytes[at + 3] ?? -1;
    return type;
  }

  /** Up to 1 GB of it, as fast as it is taken; what came back. */
  async function pour(begin: string | Buffer, more: string | Buffer): Promise<string> {
    const socket = connect(waypoint.port('rough'), '127.0.0.1');
    let received = '';
    let closed = false;
    socket.on('error', () => {});
    socket.on('data', (part) => (received += part.toString('latin1')));
    const end = once(socket, 'close').then(() => (closed = true));
    socket.write(begin);
    while (!closed && socket.writable && socket.bytesWritten < gigabyte)
      if (!socket.write(more)) await Promise.race([once(socket, 'drain').catch(() => {}), end]);
    await Promise.race([end, once(socket, 'end').catch(() => {})]);
    socket.destroy();
    return received;
  }
});

describe('all of that together', () => {
  it('left the waypoint small', () => {
    const status = readFileSync(`/proc/${waypoint.pid}/status`, 'utf8');
    const peakKiB = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
    expect(peakKiB).toBeLessThan(400 * 1024);
  });
});
