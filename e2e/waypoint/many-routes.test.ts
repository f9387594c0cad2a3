// Ten thousand rules at one service, through a controller and a waypoint that are processes: each is found, none slows
// down or ends anything, and they go as they came.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Companion } from './companion.ts';
import { standingRoute, StandingWaypoint, targetOf } from './standing-waypoint.ts';

/** The most that the Gateway API lets one route have. */
const rulesPerRoute = 16;
const routeCount = 625;
const server = createServer((incoming, outgoing) => {
  outgoing.end(incoming.url === '/companion' ? 'fine' : String(incoming.headers['x-rule']));
});
let waypoint: StandingWaypoint;

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const target = (server.address() as AddressInfo).port;
  waypoint = await StandingWaypoint.start({
    services: [
      { name: 'many', target },
      { name: 'good', target },
    ],
  });
}, 60_000);

afterAll(async () => {
  await waypoint?.[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

/** Every rule says its own number; half of them are told by a header. */
function rule(number: number): object {
  const tenant = number % 5_000;
  const path = { type: tenant % 3 === 0 ? 'Exact' : 'PathPrefix', value: `/tenant-${tenant}/cart` };
  const headers = number >= 5_000 ? [{ name: 'version', value: 'two' }] : [];
  const set = [{ name: 'x-rule', value: String(number) }];
  return {
    matches: [{ path, headers }],
    filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set } }],
    backendRefs: [{ ...targetOf('many'), port: 80 }],
  };
}

function route(index: number): object {
  const rules = Array.from({ length: rulesPerRoute }, (_, at) => rule(index * rulesPerRoute + at));
  return standingRoute(`route-${index}`, 'many', rules);
}

async function ask(path: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${waypoint.port('many')}${path}`, { headers });
  return answer.status === 200 ? await answer.text() : String(answer.status);
}

describe('ten thousand rules', () => {
  it('come, are each found, and go; another service is served throughout', { timeout: 90_000 }, async () => {
    await using companion = new Companion(waypoint.port('good'));
    const routes = Array.from({ length: routeCount }, (_, index) => route(index));
    waypoint.apply('routes', ...routes);
    await waypoint.inForce(...routes.map((_, index) => `route-${index}`));
    const tenants = Array.from({ length: 200 }, (_, index) => index * 25 + (index % 25));
    for (const tenant of tenants) {
      const path = `/tenant-${tenant}/cart`;
      expect(await ask(path)).toBe(String(tenant));
      expect(await ask(path, { version: 'two' })).toBe(String(tenant + 5_000));
    }
    expect(await ask('/tenant-none/cart')).toBe('404');
    waypoint.apply('routes', route(0));
    await waypoint.inForce('route-0');
    expect(await ask('/tenant-15/cart')).toBe('15');
    expect(await ask('/tenant-16/cart')).toBe('404');
    await companion.more(1);
    expect(companion.failures).toEqual([]);
  });
});
