// Tunnels on loopback: sharing, limits, the ways they end, and what a request learns of it.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode } from '../h2/error.ts';
import type { H2Stream, StreamHandler } from '../h2/stream.ts';
import * as libc from '../io/libc.ts';
import { listenTcp, localAddress } from '../io/socket.ts';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import { TlsContext } from '../io/tls-context.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';
import type { ConnectHandler, ConnectRequest } from './client-tunnel.ts';
import type { HboneError } from './hbone-error.ts';
import type { IncomingConnect } from './server-tunnel.ts';
import { apiId, loopback, readAll, TunnelWorld, type WorldOptions } from './testing/tunnel-world.ts';

let world: TunnelWorld;
let before: number;

beforeEach(() => {
  before = openDescriptors();
});

afterEach(async () => {
  await world.close();
  expect(world.errors).toEqual([]);
  expect(openDescriptors()).toBe(before);
});

async function start(options: WorldOptions = {}): Promise<void> {
  world = await TunnelWorld.create(options);
}

/** A handler that keeps what it is told. */
class Caller implements ConnectHandler, StreamHandler {
  readonly failures: HboneError[] = [];
  readonly resets: number[] = [];
  stream: H2Stream | undefined;
  request!: ConnectRequest;

  onConnected(stream: H2Stream): StreamHandler {
    this.stream = stream;
    return this;
  }

  onFailed(error: HboneError): void {
    this.failures.push(error);
  }

  onData(): void {}
  onEnd(): void {}
  onWritable(): void {}
  onReset(code: number): void {
    this.resets.push(code);
  }
}

function call(...args: Parameters<TunnelWorld['request']> extends [unknown, ...infer R] ? R : never): Caller {
  const caller = new Caller();
  caller.request = world.request(caller, ...args);
  expect(caller.failures).toEqual([]);
  return caller;
}

const quiet: StreamHandler = { onData() {}, onEnd() {}, onReset() {}, onWritable() {} };
const acceptAll = (request: IncomingConnect): void => request.accept([], quiet);

describe('TunnelPool', () => {
  it('150 concurrent first requests share two tunnels of at most 100 streams', async () => {
    await start({ onRequest: acceptAll });
    const callers = Array.from({ length: 150 }, () => call());
    expect(world.pool.size).toBe(2);
    await pump(world.reactor, 'all connected', () => callers.every(({ stream }) => stream !== undefined));
    expect(world.pool.size).toBe(2);
    expect(new Set([...world.tunnels].map(({ session }) => session.openStreams))).toEqual(new Set([100, 50]));
    const next = call();
    await pump(world.reactor, 'one more', () => next.stream !== undefined);
    expect(world.pool.size).toBe(2);
  });

  it('never shares a tunnel between identities, source addresses, targets or expectations', async () => {
    await start({ onRequest: acceptAll });
    const other = 'spiffe://cluster.local/ns/shop/sa/other' as SpiffeId;
    const callers = [call(), call({ source: other }), call({ expected: [other, apiId] }), call()];
    await pump(world.reactor, 'all connected', () => callers.every(({ stream }) => stream !== undefined));
    expect(world.pool.size).toBe(3);
  });

  it('serves a waiting request of a tunnel that is retired meanwhile, and gives the next one a fresh tunnel', async () => {
    await start({ onRequest: acceptAll });
    const early = call();
    world.pool.drain(() => true);
    const late = call();
    expect(world.pool.size).toBe(2);
    await pump(world.reactor, 'both', () => early.stream !== undefined && late.stream !== undefined);
    expect(early.request.tunnel).not.toBe(late.request.tunnel);
    early.stream?.reset(ErrorCode.CANCEL);
    early.request.tunnel.streamEnded();
    await pump(world.reactor, 'the retired one to end', () => world.pool.size === 1);
  });

  it('drain() lets open streams finish, then the tunnel goes', async () => {
    await start();
    const connection = await world.through();
    world.pool.drain(() => true);
    connection.client.end('still carried');
    expect((await pumpUntil(world.reactor, 'the bytes', readAll(connection.app))).bytes.toString()).toBe(
      'still carried',
    );
    expect(world.pool.size).toBe(1);
    connection.app.end();
    await pump(world.reactor, 'the tunnel to end', () => world.pool.size === 0 && world.tunnels.size === 0);
    const fresh = await world.through();
    fresh.client.destroy();
  });

  it('a GOAWAY of the server drains, new requests go to a new tunnel', async () => {
    await start();
    const connection = await world.through();
    for (const tunnel of world.tunnels) tunnel.drain();
    const old = [...world.tunnels][0];
    await pump(world.reactor, 'the GOAWAY', () => old?.session.draining === true);
    for (let i = 0; i < 5; i++) world.reactor.turn(1);
    const second = await world.through();
    expect(world.tunnels.size).toBe(2);
    connection.client.end();
    connection.app.end();
    await pump(world.reactor, 'the old one to end', () => world.pool.size === 1 && world.tunnels.size === 1);
    expect(second.outbound.end).toBeUndefined();
  });

  it('a server that drains during the handshake still serves what the tunnel was made for', async () => {
    await start({ onRequest: acceptAll });
    const caller = call();
    await pump(world.reactor, 'accept', () => world.tunnels.size === 1);
    for (const tunnel of world.tunnels) tunnel.drain();
    await pump(world.reactor, 'an outcome', () => caller.failures.length > 0 || caller.stream !== undefined);
    expect(caller.failures).toEqual([]);
    caller.stream?.reset(ErrorCode.CANCEL);
    caller.request.tunnel.session.flush();
    caller.request.tunnel.streamEnded();
    await pump(world.reactor, 'the end', () => world.tunnels.size === 0);
  });

  it('a draining server takes the request that crosses its GOAWAY', async () => {
    await start({ onRequest: acceptAll });
    const first = call();
    await pump(world.reactor, 'the tunnel', () => first.stream !== undefined);
    const second = call();
    for (const tunnel of world.tunnels) tunnel.drain();
    await pump(world.reactor, 'an outcome', () => second.failures.length > 0 || second.stream !== undefined);
    expect(second.failures).toEqual([]);
    expect(second.request.tunnel).toBe(first.request.tunnel);
    world.pool.destroy(() => true);
    await pump(world.reactor, 'the end', () => world.tunnels.size === 0);
  });

  it('releases a tunnel without streams after its time, also one whose only request failed or was cancelled', async () => {
    let answer: (request: IncomingConnect) => void = (request) => request.reject(503);
    await start({ onRequest: (request) => answer(request), liveness: { unusedReleaseMs: 30 } });
    await world.failure();
    await pump(world.reactor, 'the release after a failure', () => world.pool.size === 0);
    let asked = 0;
    answer = () => {
      asked++;
    };
    const cancelled = call();
    await pump(world.reactor, 'the request', () => asked === 1);
    cancelled.request.cancel();
    await pump(world.reactor, 'the release after a cancellation', () => world.pool.size === 0);
    const early = call();
    early.request.cancel();
    await pump(world.reactor, 'the release of one that was never used', () => world.pool.size === 0);
    expect([...cancelled.failures, ...early.failures]).toEqual([]);
    await pump(world.reactor, 'the server', () => world.tunnels.size === 0);
  });

  it('destroy() fails what waits, in TCP connect and in the handshake, and lets go of everything', async () => {
    await start();
    let greeted = 0;
    const silent = createServer((socket) => {
      world.keep(socket).on('data', () => {
        greeted++;
      });
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const target = { address: loopback, port: (silent.address() as AddressInfo).port };
    const connecting = call({ target });
    world.pool.destroy(() => true);
    expect(connecting.failures.map(({ code }) => code)).toEqual(['cancelled']);
    const handshaking = call({ target });
    await pump(world.reactor, 'the ClientHello', () => greeted > 0);
    world.pool.destroy(() => true);
    expect(handshaking.failures.map(({ code }) => code)).toEqual(['cancelled']);
    expect(world.pool.size).toBe(0);
    silent.close();
  });

  it('hands a socket that can not be made to the caller', async () => {
    await start();
    const createSocket = () => {
      throw new RangeError('no socket');
    };
    expect(() => world.request(new Caller(), {}, { createSocket })).toThrow('no socket');
    expect(world.pool.size).toBe(0);
  });
});

describe('a request', () => {
  it.each([
    [400, undefined, 'refused', false, 'The destination node answered CONNECT with status 400'],
    [401, 'denied by policy shop/only-web', 'denied', false, 'denied by policy shop/only-web'],
    [401, undefined, 'denied', false, 'connection denied by the destination node'],
    [
      503,
      'no such pod\nhere',
      'refused',
      true,
      'The destination node answered CONNECT with status 503: no such pod?here',
    ],
  ] as const)('answered with %d (%s) fails as %s', async (status, reason, code, retryable, message) => {
    await start({ onRequest: (request) => request.reject(status, reason) });
    const error = await world.failure();
    expect([error.code, error.retryable, error.status, error.message]).toEqual([
      code,
      retryable,
      status,
      message,
    ]);
    const [tunnel] = world.tunnels;
    await pump(world.reactor, 'the stream to end', () => tunnel?.session.openStreams === 0);
    expect(world.pool.size).toBe(1);
  });

  it('cancelled before the answer resets its stream and hears nothing', async () => {
    const gone: string[] = [];
    const asked: IncomingConnect[] = [];
    await start({
      onRequest: (request) => {
        asked.push(request);
        request.onGone(() => gone.push(request.authority));
      },
    });
    const caller = call();
    await pump(world.reactor, 'the request', () => asked.length === 1);
    caller.request.cancel();
    caller.request.cancel();
    await pump(world.reactor, 'the server to know', () => gone.length === 1);
    asked[0]?.accept([], quiet);
    asked[0]?.reject(503);
    for (let i = 0; i < 5; i++) world.reactor.turn(1);
    expect([caller.failures, caller.resets, caller.stream]).toEqual([[], [], undefined]);
    expect([...world.tunnels][0]?.session.openStreams).toBe(0);
  });

  it('whose tunnel is lost before the answer may be repeated, also on a stale tunnel of the pool', async () => {
    let hold = false;
    await start({
      onRequest: (request) => {
        if (!hold) return acceptAll(request);
        for (const tunnel of world.tunnels) tunnel.destroy();
      },
    });
    const first = call();
    await pump(world.reactor, 'the first', () => first.stream !== undefined);
    hold = true;
    const stale = call();
    expect(stale.request.tunnel.reused).toBe(true);
    await pump(world.reactor, 'the loss', () => stale.failures.length === 1);
    expect(stale.failures[0]?.code).toBe('tunnel-lost');
    expect(stale.failures[0]?.retryable).toBe(true);
    expect(first.resets).toHaveLength(1);
    hold = false;
    const again = call();
    await pump(world.reactor, 'a fresh tunnel', () => again.stream !== undefined);
    expect(again.request.tunnel).not.toBe(stale.request.tunnel);
  });

  it('to nobody fails as connect-failed, all waiting ones alike', async () => {
    await start();
    const fd = listenTcp({ address: loopback, port: 0 });
    const target = localAddress(fd);
    libc.close(fd);
    const callers = Array.from({ length: 3 }, () => call({ target }));
    await pump(world.reactor, 'the failures', () => callers.every(({ failures }) => failures.length === 1));
    expect(new Set(callers.map(({ failures }) => failures[0]?.code))).toEqual(new Set(['connect-failed']));
    expect(callers[0]?.failures[0]?.retryable).toBe(true);
    expect(world.pool.size).toBe(0);
  });

  it('to a server with another identity fails as identity-rejected and names both', async () => {
    await start();
    const wanted = 'spiffe://cluster.local/ns/shop/sa/somebody' as SpiffeId;
    const error = await world.failure({ expected: [wanted] });
    expect(error.code).toBe('identity-rejected');
    expect(error.message).toBe(
      `TLS handshake failed: peer did not present the expected identity: wanted ${wanted}, got ${apiId}`,
    );
    await pump(world.reactor, 'the server', () => world.tunnels.size === 0);
  });

  it.each([
    [
      'of another trust domain',
      ['spiffe://other.mesh/ns/shop/sa/web'],
      'the client is of another trust domain: spiffe://other.mesh/ns/shop/sa/web, wanted cluster.local',
    ],
    ['without a SPIFFE name', [], 'the client certificate has no SPIFFE identity'],
    [
      'with a broken SPIFFE name',
      ['spiffe://cluster.local/ns/shop'],
      'the client certificate has no SPIFFE identity',
    ],
  ])('of a client %s is refused by the server', async (_who, uris, message) => {
    await start();
    const context = new TlsContext('client', await world.authority.issue({ uris, dnsNames: ['web.shop'] }));
    const error = await world.failure({}, { context });
    context[Symbol.dispose]();
    // In TLS 1.3 the client's own handshake was done before (WIRE 1.1).
    expect(['tunnel-lost', 'tls-failed']).toContain(error.code);
    await pump(world.reactor, 'the server', () => world.failures.length === 1);
    expect(world.failures[0]?.code).toBe('tls-identity-rejected');
    expect(world.failures[0]?.message).toBe(`TLS handshake failed: ${message}`);
  });
});

describe('liveness', () => {
  it('keeps an idle tunnel whose peer answers PINGs', async () => {
    await start({ onRequest: acceptAll, liveness: { pingAfterMs: 20, pingTimeoutMs: 5_000 } });
    const caller = call();
    await pump(world.reactor, 'the stream', () => caller.stream !== undefined);
    let passed = false;
    world.reactor.after(200, () => {
      passed = true;
    });
    await pump(world.reactor, 'ten times the silence', () => passed);
    expect(world.pool.size).toBe(1);
    expect(caller.resets).toEqual([]);
  });

  it('ends a tunnel whose peer has died without a word, and its streams with it', async () => {
    await start({ liveness: { pingAfterMs: 20, pingTimeoutMs: 60 } });
    const relay = await startRelay();
    const connection = await world.through();
    const seen = readAll(connection.client);
    relay.stop();
    expect((await pumpUntil(world.reactor, 'the client to know', seen)).how).toBe('ECONNRESET');
    expect(connection.outbound.end).toBe('tunnel-reset');
    await pump(world.reactor, 'both tunnels to end', () => world.pool.size + world.tunnels.size === 0);
    relay.close();
  });
});

/** Stands between pool and server; after stop() it swallows everything and closes nothing. */
async function startRelay(): Promise<{ stop: () => void; close: () => void }> {
  let stopped = false;
  const target = world.port;
  const server = createServer((near) => {
    const far = world.keep(connect(target, '127.0.0.1'));
    world.keep(near);
    const forward = (to: Socket) => (chunk: Buffer) => {
      if (!stopped) to.write(chunk);
    };
    near.on('data', forward(far));
    far.on('data', forward(near));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  world.port = (server.address() as AddressInfo).port;
  return {
    stop: () => {
      stopped = true;
    },
    close: () => server.close(),
  };
}

describe('a server tunnel', () => {
  it('given up in the handshake tells its owner', async () => {
    await start();
    const caller = call();
    await pump(world.reactor, 'accept', () => world.tunnels.size === 1);
    for (const tunnel of [...world.tunnels]) tunnel.destroy();
    expect(world.tunnels.size).toBe(0);
    expect(world.failures.map(({ code }) => code)).toEqual(['closed']);
    await pump(world.reactor, 'the client', () => caller.failures.length === 1);
    expect(caller.failures[0]?.retryable).toBe(true);
  });
});
