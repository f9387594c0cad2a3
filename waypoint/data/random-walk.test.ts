// A random walk: raw clients that pipeline, stall and go away, endpoints that fail anywhere, and a model that changes
// under all of it: policies, routes, endpoints, names, tokens that are verified late or never. Each seed is one short
// life of a data plane. No answer is checked; at the end each request has exactly one record, and every counter is 0.

import { createServer as createHttp1 } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { makePolicy } from '../../mesh/model/fixture.ts';
import type { HttpFilter } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { HostnameAnswer } from '../../mesh/proxy/hostname-lookups.ts';
import type { TokenJob } from '../jwt/token-job.ts';
import { openPicks } from '../testing/open-picks.ts';
import { loopback, PlaneRig, rule } from '../testing/plane-rig.ts';
import { keylessAuthentication } from '../testing/token-rules.ts';
import type { RequestRecord } from './request-record.ts';

const seeds = 15;
const steps = 60;

/** A linear congruential generator (Numerical Recipes): the same walk each time, as far as the machine's timing allows. */
function sequence(seed: number): () => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const deny = makePolicy('shop', 'deny-all', {
  scope: 'namespace',
  action: 'deny',
  rules: [{ name: 'r', clauses: [] }],
});
const denySome = makePolicy('shop', 'deny-some', {
  scope: 'workload',
  action: 'deny',
  rules: [{ name: 'r', clauses: [] }],
});

const requests = [
  'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
  'GET /auth HTTP/1.1\r\nhost: a\r\n\r\n',
  'GET /t HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a.b.NUMBER\r\n\r\n',
  'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello',
  'POST /auth HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'PUT /t HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a.b.NUMBER\r\ncontent-length: 100000\r\n\r\n' +
    'x'.repeat(100_000),
  'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500\r\n\r\nnever whole',
  'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nraw',
  'GET / HTTP/1.1\r\nhost: a\r\n',
  'nonsense\r\n\r\n',
] as const;

class Walk {
  readonly #random: () => number;
  readonly #rig: PlaneRig;
  readonly #clients: Socket[] = [];
  readonly #jobs: TokenJob[] = [];
  readonly #names: string[] = [];
  readonly #started: RequestRecord[] = [];
  readonly #picks: { readonly open: number };
  #number = 0;

  constructor(seed: number) {
    this.#random = sequence(seed);
    this.#rig = new PlaneRig(
      { upstreamIdleTimeoutMs: 100, maxConnectionsPerEndpoint: 4, headTimeoutMs: 200, connectTimeoutMs: 100 },
      {
        verifyToken: (job) => this.#jobs.push(job),
        lookUp: (name) => this.#names.push(name),
        random: this.#random,
      },
    );
    this.#picks = openPicks(this.#rig.plane.balancer);
    const report = this.#rig.plane.report as { started: (record: RequestRecord) => undefined };
    report.started = (record) => void this.#started.push(record);
  }

  async run(): Promise<void> {
    await using rig = this.#rig;
    const ports = [await rig.serve(this.#server()), await rig.serve(this.#server()), 1];
    const services = [rig.service('a', ports), rig.service('b', ports.slice(0, 1)), rig.service('c', [])];
    const [a, b, named] = services as [Service, Service, Service];
    rig.endpoints(named, ports.slice(0, 1), { addresses: [], hostname: 'c.example.com' });
    const auth = rig.service('auth', [await rig.serve(this.#server())]);
    const front = rig.service('front', []);
    const port = rig.listen(front);
    const changes = [
      () => this.#route(front, [a, b, named], auth),
      () => this.#route(front, [a], auth),
      () => rig.apply({ policies: [deny] }),
      () => rig.apply({ removed: { policies: [deny.key] } }),
      () => rig.apply({ policies: [denySome] }),
      () => rig.apply({ removed: { policies: [denySome.key] } }),
      () =>
        rig.endpoints(a, ports.slice(1), this.#chance(0.5) ? { authorizationPolicies: [denySome.key] } : {}),
      () => rig.endpoints(a, ports),
      () => rig.endpoints(b, this.#chance(0.5) ? [] : ports.slice(0, 1)),
      () => rig.apply({ requestAuthentications: [keylessAuthentication] }),
      () => rig.apply({ removed: { requestAuthentications: [keylessAuthentication.key] } }),
      () => this.#answerToken(),
      () => this.#answerName(),
    ];
    this.#route(front, [a, b, named], auth);
    rig.apply({ requestAuthentications: [keylessAuthentication] });
    for (let step = 0; step < steps; step++) {
      if (this.#chance(0.4)) this.#pick(changes)();
      else this.#clientStep(port);
      const until = rig.reactor.now + this.#random() * 4;
      await rig.when('a moment', () => rig.reactor.now >= until);
    }
    for (const client of this.#clients) client.destroy();
    while (this.#jobs.length > 0) this.#answerToken();
    await rig.when('all requests to end', () => rig.plane.active.requests === 0);
    for (const { key } of [...services, auth])
      await rig.when('all copies to end', () => rig.plane.requestsTo(key).active === 0);
    expect(services.map(({ key }) => rig.plane.requestsTo(key).waiting)).toEqual([0, 0, 0]);
    expect(this.#picks.open).toBe(0);
    expect(new Set(rig.requests)).toEqual(new Set(this.#started));
    expect(rig.requests.length).toBe(this.#started.length);
  }

  #server() {
    const server = createHttp1((incoming, outgoing) => {
      incoming.on('error', () => {});
      outgoing.on('error', () => {});
      incoming.resume();
      const chance = this.#random();
      if (chance < 0.1) incoming.socket.destroy();
      else if (chance < 0.2) return;
      else if (chance < 0.3) outgoing.writeHead(503).end();
      else if (chance < 0.4) outgoing.write('begun', () => outgoing.socket?.destroy());
      else if (chance < 0.5) setTimeout(() => outgoing.end('late'), 30);
      else outgoing.end('x'.repeat(Math.floor(this.#random() * 100_000)));
    });
    server.on('upgrade', (_incoming, socket: Socket) => {
      socket.on('error', () => {});
      socket.resume().on('end', () => socket.end());
      if (this.#chance(0.5)) socket.write('HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
      else socket.end('HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n');
    });
    return server.on('clientError', () => {});
  }

  #route(front: Service, backends: readonly Service[], auth: Service): void {
    const rig = this.#rig;
    const target = (service: Service) => ({ kind: 'service', service: service.key, port: 80 }) as const;
    const external: HttpFilter = {
      kind: 'external-auth',
      protocol: 'http',
      target: target(auth),
      path: '',
      allowedHeaders: [],
      allowedResponseHeaders: ['x-none'],
      maxBodyBytes: this.#chance(0.5) ? 100 : 0,
    };
    const mirror: HttpFilter = {
      kind: 'mirror',
      target: target(this.#pick(backends)),
      numerator: 1,
      denominator: 2,
    };
    const trafficPolicy: HttpTrafficPolicy = {
      key: 'shop/p',
      hedging: { delayMs: 5, maxAttempts: 3 },
      maxPendingRequests: 2,
      maxRequests: 20,
      faults: [{ when: undefined, delay: { ms: 8, percent: 30 }, abort: undefined }],
      rateLimits: [{ key: { kind: 'all' }, requests: 500, intervalMs: 1_000, burst: 50, when: undefined }],
    };
    const common = {
      timeouts: { requestMs: 60, backendRequestMs: 25 },
      retry: { codes: [503], attempts: 2, backoffMs: 2 },
      trafficPolicy,
    };
    const path = { kind: 'prefix', value: '/auth' } as const;
    const matches = [{ path, method: undefined, headers: [], query: [], grpc: undefined }];
    rig.routes(front, {
      http: [
        rule(backends, { ...common, filters: [external], matches }),
        rule(backends, { ...common, filters: [mirror] }),
      ],
    });
  }

  #clientStep(port: number): void {
    const chance = this.#random();
    if (this.#clients.length === 0 || chance < 0.4) {
      const client = connect(port, '127.0.0.1');
      client.on('error', () => {});
      if (this.#chance(0.9)) client.resume();
      this.#clients.push(client);
    }
    const client = this.#pick(this.#clients);
    if (client.destroyed || chance > 0.9) client.destroy();
    else if (chance > 0.85) client.end();
    else if (client.writable)
      client.write(this.#pick(requests).replace('NUMBER', String(this.#number++ % 20)));
  }

  #answerToken(): void {
    const job = this.#jobs.shift();
    if (job === undefined) return;
    const result = this.#chance(0.7)
      ? ({
          kind: 'valid',
          rule: 0,
          claims: { iss: 'https://issuer.test', sub: 'ann' },
          expiresAt: undefined,
        } as const)
      : ({ kind: 'invalid', reason: 'no', lasting: false } as const);
    this.#rig.plane.answerToken({ id: job.id, result });
  }

  #answerName(): void {
    const name = this.#names.shift();
    if (name === undefined) return;
    const answer: HostnameAnswer = this.#chance(0.7)
      ? ({ kind: 'addresses', addresses: [loopback] } as unknown as HostnameAnswer)
      : ({ kind: 'failed' } as unknown as HostnameAnswer);
    this.#rig.plane.answerHostname(name, answer);
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T;
  }
}

describe('the data plane', () => {
  it('counts everything back to nothing after any walk', async () => {
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        await new Walk(seed).run();
      } catch (error) {
        throw new Error(`Seed ${seed}`, { cause: error });
      }
    }
  }, 120_000);
});
