// Everything at once and out of order: clients that give up anywhere, endpoints that fail anywhere, in both versions, with
// retries, timeouts and mirrors. No answer is checked but that each is whole or surely not; what counts is the end:
// every request has one record, and nothing is left of any.

import { createServer as createHttp1, request } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2, type ServerHttp2Stream } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openDescriptors } from '../../mesh/io/testing/leaks.ts';
import type { Service } from '../../mesh/model/service.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

/** A linear congruential generator: the same disorder each time (Numerical Recipes). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const body = (length: number): Buffer => Buffer.alloc(length, 'abcdefghij');
const lengths = [0, 1, 5_000, 70_000, 400_000];
const pick = <T>(random: () => number, list: readonly T[]): T =>
  list[Math.floor(random() * list.length)] as T;

function http1Server(random: () => number) {
  const server = createHttp1((incoming, outgoing) => {
    const chance = random();
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    if (chance < 0.1) {
      incoming.socket.destroy();
      return;
    }
    if (chance < 0.15) return;
    if (chance < 0.25) {
      outgoing.writeHead(503).end('down');
      return;
    }
    incoming.resume();
    const answer = (): void => {
      const bytes = body(pick(random, lengths));
      outgoing.writeHead(200, random() < 0.5 ? { 'content-length': bytes.length } : {});
      if (random() < 0.1) {
        outgoing.write(bytes.subarray(0, bytes.length >> 1));
        setImmediate(() => outgoing.socket?.destroy());
      } else outgoing.end(bytes);
    };
    if (chance < 0.5) answer();
    else incoming.on('end', answer);
  });
  return server.on('clientError', () => {});
}

function http2Server(random: () => number) {
  const server = createHttp2();
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream: ServerHttp2Stream) => {
    const chance = random();
    stream.on('error', () => {});
    if (chance < 0.05) {
      stream.session?.destroy();
      return;
    }
    if (chance < 0.1) {
      stream.session?.goaway(0);
      return;
    }
    if (chance < 0.2) {
      stream.close(Math.floor(random() * 13));
      return;
    }
    if (chance < 0.25) return;
    stream.resume();
    const answer = (): void => {
      if (stream.destroyed) return;
      stream.respond({ ':status': random() < 0.1 ? 503 : 200 });
      if (random() < 0.1) stream.destroy(new Error('given up'));
      else stream.end(body(pick(random, lengths)));
    };
    if (chance < 0.5) answer();
    else stream.on('end', answer);
  });
  return server;
}

/** One request by Node's client; resolves however it ends. */
function http1Request(port: number, random: () => number): Promise<void> {
  return new Promise((resolve) => {
    const method = pick(random, ['GET', 'POST', 'PUT']);
    const outgoing = request({ port, host: '127.0.0.1', method, agent: false });
    outgoing.on('error', () => resolve());
    outgoing.on('response', (message) => {
      message.on('error', () => {});
      message.on('close', () => resolve());
      message.resume();
      if (random() < 0.1) message.destroy();
    });
    outgoing.on('close', () => resolve());
    if (method === 'GET') outgoing.end();
    else outgoing.end(body(pick(random, lengths)));
    if (random() < 0.15) setTimeout(() => outgoing.destroy(), random() * 20);
  });
}

function http2Request(session: ReturnType<typeof connectHttp2>, random: () => number): Promise<void> {
  return new Promise((resolve) => {
    if (session.closed || session.destroyed) return resolve();
    const method = pick(random, ['GET', 'POST', 'PUT']);
    const stream = session.request({ ':path': '/', ':method': method });
    stream.on('error', () => {});
    stream.on('close', () => resolve());
    stream.resume();
    if (method === 'GET') stream.end();
    else stream.end(body(pick(random, lengths)));
    if (random() < 0.15) setTimeout(() => stream.close(8), random() * 20);
    return undefined;
  });
}

async function disorder(seed: number): Promise<void> {
  const random = sequence(seed);
  await using rig = new PlaneRig({ upstreamIdleTimeoutMs: 200, bufferBudgetBytes: 64 * 1024 * 1024 });
  const old = rig.service('old', [
    await rig.serve(http1Server(random)),
    await rig.serve(http1Server(random)),
    1,
  ]);
  const grpc = rig.service(
    'new',
    [await rig.serve(http2Server(random)), await rig.serve(http2Server(random))],
    {
      appProtocol: 'http2',
    },
  );
  const front = rig.service('front', []);
  const target = (service: Service) => ({ kind: 'service', service: service.key, port: 80 }) as const;
  rig.routes(front, {
    http: [
      rule([old, grpc], {
        timeouts: { requestMs: 250, backendRequestMs: 80 },
        retry: { codes: [503], attempts: 2, backoffMs: 2 },
        filters: [
          { kind: 'mirror', target: target(random() < 0.5 ? old : grpc), numerator: 1, denominator: 3 },
        ],
        trafficPolicy: { key: 'shop/h', hedging: { delayMs: 20, maxAttempts: 2 } },
      }),
    ],
  });
  const port = rig.listen(front);
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let i = 0; i < 8; i++) {
      if (client % 2 === 0) await http1Request(port, random);
      else {
        const session = connectHttp2(`http://127.0.0.1:${port}`);
        session.on('error', () => {});
        await Promise.all(Array.from({ length: 4 }, () => http2Request(session, random)));
        session.destroy();
      }
      if (random() < 0.1) await delay(random() * 5);
    }
  });
  await rig.until('the clients', Promise.all(clients));
  await rig.when('all requests to end', () => rig.plane.active.requests === 0);
  await rig.when('all mirrors to end', () =>
    [old, grpc].every(({ key }) => rig.plane.requestsTo(key).active === 0),
  );
  expect([old, grpc].map(({ key }) => rig.plane.requestsTo(key).waiting)).toEqual([0, 0]);
  expect(new Set(rig.requests).size).toBe(rig.requests.length);
  const flags = new Set(rig.requests.map(({ flag }) => flag));
  // The disorder was one.
  expect(flags.size).toBeGreaterThan(3);
}

describe('the data plane', () => {
  it('is left with nothing after any disorder', async () => {
    const before = openDescriptors();
    for (let seed = 1; seed <= 3; seed++) await disorder(seed);
    expect(openDescriptors()).toBe(before);
  }, 60_000);
});
