// Policies of whoever answers in the end: a route may lead to another service, and a mirror copies to one.

import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { makePolicy } from '../../mesh/model/fixture.ts';
import type { MirrorFilter } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import { ask } from '../testing/ask.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

/** Covers the endpoints of `app` only, by their own list. */
const denyApp = makePolicy('shop', 'deny-app', {
  scope: 'workload',
  action: 'deny',
  rules: [{ name: 'all', clauses: [] }],
});

/** `front` has no endpoints: its route leads to `app`. */
async function world(rig: PlaneRig, listener: Parameters<typeof createServer>[1]) {
  const app = rig.service('app', [await rig.serve(createServer(listener))], {
    workload: { authorizationPolicies: [denyApp.key] },
  });
  const front = rig.service('front', []);
  return { app, front, port: rig.listen(front) };
}

function mirrorTo(service: Service): MirrorFilter {
  return {
    kind: 'mirror',
    target: { kind: 'service', service: service.key, port: 80 },
    numerator: 1,
    denominator: 1,
  };
}

describe('a route that leads to another service', () => {
  it('is under the policies of its endpoints, too', async () => {
    await using rig = new PlaneRig();
    const { app, front, port } = await world(rig, (_incoming, outgoing) => outgoing.end('hello'));
    rig.routes(front, { http: [rule([app])] });
    expect((await ask(rig, port)).status).toBe(200);
    rig.apply({ policies: [denyApp] });
    expect((await ask(rig, port)).status).toBe(403);
    expect(await rig.record(1)).toMatchObject({
      flag: 'UAEX',
      details: 'denied by policy shop/deny-app rule all',
    });
  });

  it('is cut when they come to deny what is under way', async () => {
    await using rig = new PlaneRig();
    const { app, front, port } = await world(rig, (_incoming, outgoing) => outgoing.write('first'));
    rig.routes(front, { http: [rule([app])] });
    const outgoing = request({ port, host: '127.0.0.1', agent: false }).end();
    outgoing.on('error', () => {});
    const [answer] = (await rig.until('the head', once(outgoing, 'response'))) as [IncomingMessage];
    answer.on('error', () => {});
    answer.resume();
    const cut = new Promise((resolve) => answer.once('close', resolve));
    rig.apply({ policies: [makePolicy('shop', 'unrelated', { scope: 'workload' })] });
    expect(rig.plane.active.requests).toBe(1);
    rig.apply({ policies: [denyApp] });
    await rig.until('the cut', cut);
    expect(answer.complete).toBe(false);
    expect((await rig.record()).details).toContain('shop/deny-app');
  });
});

describe('a mirror', () => {
  it('gets no copy that its policies deny to the client', async () => {
    await using rig = new PlaneRig();
    const copies: (string | undefined)[] = [];
    const { app, front, port } = await world(rig, (incoming, outgoing) => {
      copies.push(incoming.url);
      outgoing.end();
    });
    const main = rig.service('main', [
      await rig.serve(createServer((_incoming, outgoing) => outgoing.end('hello'))),
    ]);
    rig.routes(front, { http: [rule([main], { filters: [mirrorTo(app)] })] });
    rig.apply({ policies: [denyApp] });
    expect((await ask(rig, port, { path: '/denied' })).status).toBe(200);
    rig.apply({ removed: { policies: [denyApp.key] } });
    expect((await ask(rig, port, { path: '/allowed' })).status).toBe(200);
    await rig.when('the copy', () => copies.length > 0);
    expect(copies).toEqual(['/allowed']);
  });

  it('gets the whole body, also what came before it was decided where the request goes', async () => {
    await using rig = new PlaneRig();
    const bodies: string[] = [];
    const collect: Parameters<typeof createServer>[1] = (incoming, outgoing) => {
      let body = '';
      incoming.on('data', (bytes: Buffer) => (body += bytes.toString()));
      incoming.on('end', () => {
        bodies.push(body);
        outgoing.end();
      });
    };
    const main = rig.service('main', [await rig.serve(createServer(collect))]);
    const copy = rig.service('copy', [await rig.serve(createServer(collect))]);
    const front = rig.service('front', []);
    const delay = { when: undefined, delay: { ms: 40, percent: 100 }, abort: undefined };
    rig.routes(front, {
      http: [rule([main], { filters: [mirrorTo(copy)], trafficPolicy: { key: 'shop/f', faults: [delay] } })],
    });
    const port = rig.listen(front);
    for (const headers of [{ 'transfer-encoding': 'chunked' }, { 'content-length': '5' }])
      expect((await ask(rig, port, { method: 'POST', headers, body: 'hello' })).status).toBe(200);
    await rig.when('the copies', () => bodies.length === 4);
    expect(bodies).toEqual(['hello', 'hello', 'hello', 'hello']);
  });
});
