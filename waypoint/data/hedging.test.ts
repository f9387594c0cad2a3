// A second try beside the first: it may help, and whatever becomes of it never harms the first.

import { createServer, type ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { makePolicy } from '../../mesh/model/fixture.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { ask } from '../testing/ask.ts';
import { openPicks } from '../testing/open-picks.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';

const hedging = { delayMs: 20, maxAttempts: 2 };

function hedged(rig: PlaneRig, app: Service, fields: Partial<HttpTrafficPolicy> = {}): number {
  const front = rig.service('front', []);
  const trafficPolicy = { key: 'shop/h', hedging, balancing: 'round-robin', ...fields } as const;
  rig.routes(front, { http: [rule([app], { trafficPolicy })] });
  return rig.listen(front);
}

/** A server that holds what it is asked until it is told to answer, from then on everything. */
async function holding(rig: PlaneRig) {
  const held: ServerResponse[] = [];
  let released = false;
  const port = await rig.serve(
    createServer((_incoming, outgoing) => {
      if (released) outgoing.end('done');
      else held.push(outgoing);
    }),
  );
  const release = (): void => {
    released = true;
    for (const outgoing of held) outgoing.end('done');
  };
  return { held, port, release };
}

describe('a hedged request', () => {
  it('is answered by its first endpoint when policies keep it from the second', async () => {
    await using rig = new PlaneRig();
    const picks = openPicks(rig.plane.balancer);
    const open = await holding(rig);
    const closed = await holding(rig);
    const deny = makePolicy('shop', 'w', {
      scope: 'workload',
      action: 'deny',
      rules: [{ name: 'r', clauses: [] }],
    });
    const app = rig.service('app', [open.port]);
    const [other] = rig.endpoints(app, [closed.port], { authorizationPolicies: [deny.key] });
    rig.endpoints(app, [open.port, closed.port]);
    rig.apply({ policies: [deny], workloads: other === undefined ? [] : [other] });
    const port = hedged(rig, app);
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) {
      const answer = ask(rig, port, { path: `/${i}` });
      await rig.when('a first try', () => rig.requests.length > i || open.held.length > 0);
      const later = rig.reactor.now + 60;
      await rig.when('the hedge', () => rig.reactor.now > later);
      // Which endpoint comes first is the balancer's business: those that begin with the other are refused at once.
      const first = open.held.pop();
      first?.end('first');
      expect((await answer).status).toBe(first === undefined ? 403 : 200);
      statuses.push((await answer).status);
    }
    expect(statuses).toContain(200);
    expect(closed.held).toEqual([]);
    expect(picks.open).toBe(0);
  });

  it('goes on when its second try would have to wait for a connection longer than the policy allows', async () => {
    await using rig = new PlaneRig({ maxConnectionsPerEndpoint: 1 });
    const picks = openPicks(rig.plane.balancer);
    const servers = [await holding(rig), await holding(rig)] as const;
    const app = rig.service(
      'app',
      servers.map(({ port }) => port),
    );
    const port = hedged(rig, app, { maxPendingRequests: 1 });
    const answers = [ask(rig, port)];
    await rig.when('the first', () => servers.some(({ held }) => held.length > 0));
    answers.push(ask(rig, port));
    await rig.when('the second', () => servers.every(({ held }) => held.length > 0));
    const later = rig.reactor.now + 60;
    await rig.when('the hedges', () => rig.reactor.now > later);
    for (const { release } of servers) release();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses).toEqual([200, 200]);
    await rig.when('nothing to be open', () => picks.open === 0);
  });

  it('names the endpoint that answered, not the one that was tried last', async () => {
    await using rig = new PlaneRig();
    const servers = [await holding(rig), await holding(rig)] as const;
    const app = rig.service(
      'app',
      servers.map(({ port }) => port),
    );
    const answer = ask(rig, hedged(rig, app));
    await rig.when('the first', () => servers.some(({ held }) => held.length > 0));
    const first = servers.find(({ held }) => held.length > 0) as (typeof servers)[0];
    await rig.when('the second', () => servers.every(({ held }) => held.length > 0));
    first.held[0]?.end('first');
    expect((await answer).status).toBe(200);
    expect(await rig.record()).toMatchObject({ attempts: 2, endpointPort: first.port });
  });

  it('is not tried again once it is over, though it was about to be both hedged and retried', async () => {
    await using rig = new PlaneRig();
    const picks = openPicks(rig.plane.balancer);
    let tries = 0;
    const failing = createServer((incoming) => {
      tries++;
      incoming.socket.destroy();
    });
    const app = rig.service('app', [await rig.serve(failing)]);
    const front = rig.service('front', []);
    rig.routes(front, {
      http: [
        rule([app], {
          trafficPolicy: { key: 'shop/h', hedging },
          retry: { codes: [], attempts: 2, backoffMs: 150 },
          timeouts: { requestMs: 80, backendRequestMs: undefined },
        }),
      ],
    });
    expect((await ask(rig, rig.listen(front))).status).toBe(504);
    const before = tries;
    const later = rig.reactor.now + 350;
    await rig.when('the time of the retry', () => rig.reactor.now > later);
    expect([tries, picks.open]).toEqual([before, 0]);
  });
});

describe('a request whose endpoint is written as a name', () => {
  it('leaves nothing behind when its client goes away before the name is known', async () => {
    await using rig = new PlaneRig({}, { lookUp: () => {} });
    const picks = openPicks(rig.plane.balancer);
    const app = rig.service('app', [80], { workload: { addresses: [], hostname: 'app.example.com' } });
    const front = rig.service('front', []);
    rig.routes(front, {
      http: [rule([app], { timeouts: { requestMs: 30, backendRequestMs: undefined } })],
    });
    expect((await ask(rig, rig.listen(front))).status).toBe(504);
    expect(picks.open).toBe(0);
  });
});
