// Routes, policies and resilience as a client meets them. What each decides has tests of its own; here, that the data
// plane asks them in the right order and does what they say.

import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type RequestListener } from 'node:http';
import { describe, expect, it } from 'vitest';
import { makePolicy, makeWorkload } from '../../mesh/model/fixture.ts';
import type { HttpRule, MirrorFilter } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { ask } from '../testing/ask.ts';
import { loopback, PlaneRig, rule, toService } from '../testing/plane-rig.ts';

const echo =
  (name: string): RequestListener =>
  (incoming, outgoing) => {
    outgoing.setHeader('x-backend', name);
    incoming.pipe(outgoing);
  };

async function backend(rig: PlaneRig, name: string, handler: RequestListener = echo(name)): Promise<Service> {
  return rig.service(name, [await rig.serve(createServer(handler))]);
}

/** A service of that policy whose rules go to backends of the test. */
function routed(rig: PlaneRig, rules: readonly HttpRule[], http?: Partial<HttpTrafficPolicy>) {
  const policy = { key: 'shop/policy', http: { key: 'shop/policy', ...http } };
  const service = rig.service('front', [], http === undefined ? {} : { trafficPolicy: policy });
  rig.routes(service, { http: rules });
  return { service, port: rig.listen(service) };
}

const onPath = (value: string, kind: 'prefix' | 'exact' = 'prefix') => ({
  path: { kind, value },
  method: undefined,
  headers: [],
  query: [],
  grpc: undefined,
});

describe('routes', () => {
  it('take requests by path, answer 404 NR where none matches, and change over without a failed request', async () => {
    await using rig = new PlaneRig();
    const [blue, green] = [await backend(rig, 'blue'), await backend(rig, 'green')];
    const { service, port } = routed(rig, [rule([blue], { matches: [onPath('/blue')] })]);
    expect((await ask(rig, port, { path: '/blue/x' })).headers['x-backend']).toBe('blue');
    expect((await ask(rig, port, { path: '/other' })).status).toBe(404);
    expect(await rig.record(1)).toMatchObject({ flag: 'NR', status: 404 });
    // One reading of the path: what a route does not cover can not be reached by writing it otherwise.
    expect((await ask(rig, port, { path: '/blue/%2e%2e/secret' })).status).toBe(404);
    rig.routes(service, { http: [rule([green])] });
    expect((await ask(rig, port, { path: '/other' })).headers['x-backend']).toBe('green');
    expect(await rig.record(3)).toMatchObject({ backend: { name: 'green' }, route: { name: 'route' } });
  });

  it('split by weight exactly, and give nothing to weight 0', async () => {
    await using rig = new PlaneRig();
    const services = [await backend(rig, 'blue'), await backend(rig, 'green'), await backend(rig, 'red')];
    const [blue, green, red] = services.map(({ key }) => key) as [
      Service['key'],
      Service['key'],
      Service['key'],
    ];
    const { port } = routed(rig, [rule([toService(blue, 3), toService(green, 1), toService(red, 0)])]);
    const seen: Record<string, number> = {};
    for (let i = 0; i < 40; i++) {
      const { headers } = await ask(rig, port);
      const name = String(headers['x-backend']);
      seen[name] = (seen[name] ?? 0) + 1;
    }
    expect(seen).toEqual({ blue: 30, green: 10 });
  });

  it('answer 500 NC for a backend that can not be used, and 500 where there is none', async () => {
    await using rig = new PlaneRig();
    const invalid = { weight: 1, target: { kind: 'invalid', reason: 'no grant' }, filters: [] } as const;
    const { port } = routed(rig, [
      rule([invalid], { matches: [onPath('/invalid')] }),
      rule([], { matches: [onPath('/none')] }),
    ]);
    expect((await ask(rig, port, { path: '/invalid' })).status).toBe(500);
    expect((await ask(rig, port, { path: '/none' })).status).toBe(500);
    expect(await rig.record(0)).toMatchObject({ flag: 'NC', details: 'no grant' });
  });

  it('edit headers there and back, redirect, and rewrite', async () => {
    await using rig = new PlaneRig();
    const seen: IncomingMessage[] = [];
    const app = await backend(rig, 'app', (incoming, outgoing) => {
      seen.push(incoming);
      outgoing.setHeader('x-inner', '1').end();
    });
    const edit = { set: [], add: [], remove: [] };
    const { port } = routed(rig, [
      rule([], {
        matches: [onPath('/old')],
        filters: [
          {
            kind: 'redirect',
            scheme: undefined,
            hostname: 'new.example',
            path: undefined,
            port: 8443,
            status: 301,
          },
        ],
      }),
      rule([app], {
        filters: [
          { kind: 'request-headers', ...edit, set: [['x-set', 'yes']], remove: ['x-gone'] },
          { kind: 'response-headers', ...edit, add: [['x-added', 'yes']], remove: ['x-inner'] },
          { kind: 'rewrite', hostname: 'inner.example', path: { kind: 'full', value: '/inner' } },
        ],
      }),
    ]);
    const redirected = await ask(rig, port, { path: '/old', headers: { host: 'front.example' } });
    expect([redirected.status, redirected.headers.location]).toEqual([301, 'http://new.example:8443/old']);
    const { headers } = await ask(rig, port, {
      path: '/x?q=1',
      headers: { host: 'front.example', 'x-gone': '1' },
    });
    expect([headers['x-added'], headers['x-inner']]).toEqual(['yes', undefined]);
    expect(seen[0]?.headers).toMatchObject({ host: 'inner.example', 'x-set': 'yes' });
    expect(seen[0]?.headers).not.toHaveProperty('x-gone');
    expect(seen[0]?.url).toBe('/inner?q=1');
  });

  it('mirror requests with their bodies, whose answers and failures nobody sees', async () => {
    await using rig = new PlaneRig();
    const copies: string[] = [];
    const shadow = await backend(rig, 'shadow', (incoming, outgoing) => {
      let body = '';
      incoming.on('data', (part) => (body += String(part)));
      incoming.on('end', () => {
        copies.push(body);
        outgoing.writeHead(500).end('ignored');
      });
    });
    const app = await backend(rig, 'app');
    const mirror: MirrorFilter = {
      kind: 'mirror',
      target: { kind: 'service', service: shadow.key, port: 80 },
      numerator: 1,
      denominator: 1,
    };
    const { port } = routed(rig, [rule([app], { filters: [mirror] })]);
    expect((await ask(rig, port, { method: 'POST', body: 'copied' })).body.toString()).toBe('copied');
    await rig.when('the copy', () => copies.length === 1);
    expect(copies).toEqual(['copied']);
    rig.endpoints(shadow, [1]);
    expect((await ask(rig, port, { method: 'POST', body: 'x' })).status).toBe(200);
  });

  it('keep a session with its endpoint', async () => {
    await using rig = new PlaneRig();
    const app = rig.service('app', [
      await rig.serve(createServer(echo('one'))),
      await rig.serve(createServer(echo('two'))),
      await rig.serve(createServer(echo('three'))),
    ]);
    const { port } = routed(rig, [
      rule([app], {
        sessionPersistence: {
          kind: 'header',
          name: 'x-session',
          absoluteTimeoutMs: undefined,
          idleTimeoutMs: undefined,
        } as never,
      }),
    ]);
    const first = await ask(rig, port);
    const token = String(first.headers['x-session']);
    for (let i = 0; i < 6; i++) {
      const { headers } = await ask(rig, port, { headers: { 'x-session': token } });
      expect(headers['x-backend']).toBe(first.headers['x-backend']);
    }
  });
});

describe('retries', () => {
  it('hide statuses that the route lists, with the body sent again, and say so in the record', async () => {
    await using rig = new PlaneRig();
    let tries = 0;
    const app = await backend(rig, 'app', (incoming, outgoing) => {
      if (++tries % 3 !== 0) outgoing.writeHead(503);
      incoming.pipe(outgoing);
    });
    const retry = { codes: [503], attempts: 3, backoffMs: 1 };
    const { port } = routed(rig, [rule([app], { retry })]);
    const answer = await ask(rig, port, { method: 'PUT', body: 'again' });
    expect([answer.status, answer.body.toString()]).toEqual([200, 'again']);
    expect(await rig.record()).toMatchObject({ attempts: 3, flag: '', requestBytes: 5 });
    // A POST may have been acted on.
    expect((await ask(rig, port, { method: 'POST', body: 'once' })).status).toBe(503);
  });

  it('end with the last answer and the flag URX', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app', (_incoming, outgoing) => outgoing.writeHead(503).end('down'));
    const { port } = routed(rig, [rule([app], { retry: { codes: [503], attempts: 2, backoffMs: 1 } })]);
    expect((await ask(rig, port)).body.toString()).toBe('down');
    expect(await rig.record()).toMatchObject({ attempts: 3, flag: 'URX', status: 503 });
  });

  it('give each try its own time', async () => {
    await using rig = new PlaneRig();
    let tries = 0;
    const app = await backend(rig, 'app', (_incoming, outgoing) => {
      if (++tries > 1) outgoing.end('late');
    });
    const timeouts = { requestMs: 10_000, backendRequestMs: 300 };
    const { port } = routed(rig, [
      rule([app], { timeouts, retry: { codes: [], attempts: 1, backoffMs: 1 } }),
    ]);
    expect((await ask(rig, port)).body.toString()).toBe('late');
    expect(await rig.record()).toMatchObject({ attempts: 2, flag: '' });
  });

  it('hedge a slow request, and take the first answer', async () => {
    await using rig = new PlaneRig();
    let tries = 0;
    const handler: RequestListener = (_incoming, outgoing) => {
      if (++tries > 1) outgoing.end('fast');
    };
    const app = rig.service('app', [
      await rig.serve(createServer(handler)),
      await rig.serve(createServer(handler)),
    ]);
    const hedging = { delayMs: 20, maxAttempts: 2 };
    const hedged = routed(rig, [rule([app], { trafficPolicy: { key: 'shop/h', hedging } })]);
    expect((await ask(rig, hedged.port)).body.toString()).toBe('fast');
    expect(await rig.record()).toMatchObject({ attempts: 2, flag: '' });
  });
});

describe('limits and faults', () => {
  it('answer 429 RL over a rate limit, with the fields that say when to come back', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app');
    const limit = {
      key: { kind: 'all' },
      requests: 2,
      intervalMs: 60_000,
      burst: 2,
      when: undefined,
    } as const;
    const { port } = routed(rig, [rule([app])], { rateLimits: [limit] });
    const answers = [await ask(rig, port), await ask(rig, port), await ask(rig, port)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers[2]?.headers).toHaveProperty('retry-after');
    expect(answers[0]?.headers).toHaveProperty('ratelimit');
    expect(await rig.record(2)).toMatchObject({ flag: 'RL', attempts: 0 });
  });

  it('inject delays and aborts', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app');
    const when = (pathPrefix: string) => ({ pathPrefix, methods: [], headers: [] });
    const { port } = routed(rig, [rule([app])], {
      faults: [
        {
          when: when('/abort'),
          delay: undefined,
          abort: { status: 418, grpcStatus: undefined, percent: 100 },
        },
        { when: when('/delay'), delay: { ms: 60, percent: 100 }, abort: undefined },
      ],
    });
    expect((await ask(rig, port, { path: '/abort' })).status).toBe(418);
    expect((await ask(rig, port, { path: '/delay' })).status).toBe(200);
    expect(await rig.record(0)).toMatchObject({ flag: 'FI' });
    const delayed = await rig.record(1);
    expect(delayed.flag).toBe('DI');
    expect(delayed.durationMs).toBeGreaterThanOrEqual(50);
  });

  it('answer 413 and 431 for what is too large', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app');
    const { port } = routed(rig, [rule([app])], { maxRequestBodyBytes: 10, maxHeaderBytes: 1_000 });
    expect((await ask(rig, port, { method: 'POST', body: 'x'.repeat(11) })).status).toBe(413);
    expect((await ask(rig, port, { method: 'POST', body: 'x'.repeat(10) })).status).toBe(200);
    expect((await ask(rig, port, { headers: { 'x-long': 'x'.repeat(1_000) } })).status).toBe(431);
    const chunked = { 'transfer-encoding': 'chunked' };
    expect((await ask(rig, port, { method: 'POST', headers: chunked, body: 'x'.repeat(11) })).status).toBe(
      413,
    );
  });

  it('are refused by the sizes of their own policy before those of the service', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app');
    const tight = { ...rule([app]), trafficPolicy: { key: 'shop/route', maxRequestBodyBytes: 10 } };
    const { port } = routed(rig, [tight], { maxRequestBodyBytes: 20, maxHeaderBytes: 1_000 });
    expect((await ask(rig, port, { method: 'POST', body: 'x'.repeat(11) })).status).toBe(413);
    expect((await ask(rig, port, { method: 'POST', body: 'x'.repeat(10) })).status).toBe(200);
    expect((await ask(rig, port, { headers: { 'x-long': 'x'.repeat(1_000) } })).status).toBe(431);
  });

  it('answer 503 UO when as many requests are under way as the policy allows', async () => {
    await using rig = new PlaneRig();
    const held: (() => void)[] = [];
    const target = await rig.serve(
      createServer((_incoming, outgoing) => held.push(() => outgoing.end('done'))),
    );
    const policy = { key: 'shop/p', http: { key: 'shop/p', maxRequests: 1 } };
    const service = rig.service('app', [target], { trafficPolicy: policy });
    const port = rig.listen(service);
    const first = ask(rig, port);
    await rig.when('the first request', () => held.length === 1);
    expect((await ask(rig, port)).status).toBe(503);
    expect(await rig.record()).toMatchObject({ flag: 'UO' });
    held[0]?.();
    expect((await first).status).toBe(200);
  });
});

describe('connections to endpoints', () => {
  it('are replaced after as many requests as the policy says', async () => {
    await using rig = new PlaneRig();
    const ports = new Set<number | undefined>();
    const app = await backend(rig, 'app', (incoming, outgoing) => {
      ports.add(incoming.socket.remotePort);
      outgoing.end('x');
    });
    const { port } = routed(rig, [
      rule([app], { trafficPolicy: { key: 'shop/p', maxRequestsPerConnection: 2 } }),
    ]);
    for (let i = 0; i < 6; i++) expect((await ask(rig, port)).status).toBe(200);
    expect(ports.size).toBe(3);
  });

  it('are waited for by as many requests as the policy says, further ones get 503 UO', async () => {
    await using rig = new PlaneRig({ maxConnectionsPerEndpoint: 1 });
    const held: (() => void)[] = [];
    const app = await backend(rig, 'app', (_incoming, outgoing) => held.push(() => outgoing.end('done')));
    const { port } = routed(rig, [rule([app], { trafficPolicy: { key: 'shop/p', maxPendingRequests: 1 } })]);
    const first = ask(rig, port);
    await rig.when('the first request', () => held.length === 1);
    const second = ask(rig, port);
    await rig.when('the second request to wait', () => rig.plane.requestsTo(app.key).waiting === 1);
    expect((await ask(rig, port)).status).toBe(503);
    expect(await rig.record()).toMatchObject({ flag: 'UO' });
    held[0]?.();
    expect((await first).status).toBe(200);
    await rig.when('the second request', () => held.length === 2);
    held[1]?.();
    expect((await second).status).toBe(200);
  });

  it('are not made to endpoints on other networks, whose addresses mean nothing here', async () => {
    await using rig = new PlaneRig();
    const networkGateway = {
      destination: { kind: 'address', network: 'far', address: loopback },
      hboneMtlsPort: 15_008,
    } as const;
    const app = rig.service('app', [1], { workload: { network: 'far', networkGateway } });
    const port = rig.listen(app);
    expect((await ask(rig, port)).status).toBe(503);
    expect(await rig.record()).toMatchObject({
      flag: 'UF',
      attempts: 0,
      details: expect.stringMatching(/network "far"/),
    });
    const near = await rig.serve(createServer(echo('near')));
    rig.apply({ workloads: rig.endpoints(app, [near]) });
    rig.apply({
      workloads: [
        makeWorkload('far', {
          network: 'far',
          networkGateway,
          services: new Map([[app.key, [{ servicePort: 80, targetPort: 1 }]]]),
        }),
      ],
    });
    for (let i = 0; i < 8; i++) expect((await ask(rig, port)).headers['x-backend']).toBe('near');
  });
});

describe('policies', () => {
  it('cut a request that is under way when they come to deny it', async () => {
    await using rig = new PlaneRig();
    const app = await backend(rig, 'app', (_incoming, outgoing) => {
      outgoing.write('begun');
    });
    const port = rig.listen(app);
    const outgoing = request({ port, host: '127.0.0.1', agent: false }).end();
    outgoing.on('error', () => {});
    const [message] = (await rig.until('the head', once(outgoing, 'response'))) as [IncomingMessage];
    const cut = new Promise((resolve) => message.once('error', resolve));
    message.resume();
    rig.apply({ policies: [makePolicy('shop', 'nobody')] });
    expect(await rig.until('the cut', cut)).toMatchObject({ message: 'aborted' });
    expect(await rig.record()).toMatchObject({ flag: 'UAEX' });
  });

  it('cut a request that is under way when they come to select the endpoint that answers it', async () => {
    await using rig = new PlaneRig();
    const target = await rig.serve(createServer((_incoming, outgoing) => void outgoing.write('begun')));
    const app = rig.service('app', [target]);
    const outgoing = request({ port: rig.listen(app), host: '127.0.0.1', agent: false }).end();
    outgoing.on('error', () => {});
    const [message] = (await rig.until('the head', once(outgoing, 'response'))) as [IncomingMessage];
    const cut = new Promise((resolve) => message.once('error', resolve));
    message.resume();
    rig.apply({ policies: [makePolicy('shop', 'w', { scope: 'workload' })] });
    rig.endpoints(app, [target], { authorizationPolicies: [makePolicy('shop', 'w').key] });
    expect(await rig.until('the cut', cut)).toMatchObject({ message: 'aborted' });
    expect(await rig.record()).toMatchObject({ flag: 'UAEX' });
  });

  it('of one endpoint keep requests from that endpoint only', async () => {
    await using rig = new PlaneRig();
    const service = rig.service('app', []);
    const target = await rig.serve(createServer(echo('app')));
    rig.endpoints(service, [target], { authorizationPolicies: [makePolicy('shop', 'w').key] });
    rig.apply({ policies: [makePolicy('shop', 'w', { scope: 'workload' })] });
    const port = rig.listen(service);
    expect((await ask(rig, port)).status).toBe(403);
    rig.apply({ removed: { policies: [makePolicy('shop', 'w').key] } });
    expect((await ask(rig, port)).status).toBe(200);
  });
});
