// What happens to a mesh in its life costs no request: routes change, certificates are renewed, waypoints are rolled, one
// of two is killed. Kept and new connections side by side. A few thousand requests; with WEFT_LONG=1 a hundred thousand.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { type EchoMesh, gates, openEchoMesh } from './echo-mesh.ts';
import { httpWeights, routeTo } from './mesh-profile.ts';
import { LibraryTraffic, SteadyTraffic, type Tally } from './steady-traffic.ts';

const long = process.env['WEFT_LONG'] === '1';
/** Requests of each kind around each event. */
const stretch = long ? 2_500 : 150;
const routeChanges = long ? 40 : 8;
const leastRequests = long ? 100_000 : 1_000;
/** The shortest there is: renewed every five seconds. */
const certificateLifeSeconds = 10;
const timeout = long ? 900_000 : 90_000;
const clean = { failed: 0, errors: {}, library: [] };

describe.skipIf(skipKernelTests)(`under load${skipReason}`, () => {
  let echo: EchoMesh;
  let total = 0;

  beforeAll(async () => {
    const controllerFlags = ['--certificate-life', String(certificateLifeSeconds)];
    echo = await openEchoMesh('wayloss', { controllerFlags });
  }, 120_000);

  afterAll(async () => {
    await echo?.[Symbol.asyncDispose]();
    if (long) console.log(`${total} requests`);
  });

  /** Traffic before, during and after. */
  async function during(
    event: (traffic: SteadyTraffic) => Promise<void>,
  ): Promise<Tally & { readonly library: readonly string[] }> {
    const traffic = await SteadyTraffic.start(echo.mesh.pod('client').agent, { host: 'echo', port: 80 });
    const library = new LibraryTraffic(echo.callers.shop);
    let tally: Tally;
    try {
      await traffic.more(stretch, timeout);
      await event(traffic);
      await traffic.more(stretch, timeout);
    } finally {
      tally = await traffic.stop();
    }
    const { succeeded, errors } = await library.stop();
    total += tally.succeeded + succeeded;
    return { ...tally, library: errors };
  }

  /** Serial number of each waypoint's certificate. */
  async function serials(): Promise<readonly string[]> {
    const page = { host: '127.0.0.1', port: 15000, path: '/config_dump', timeoutMs: 5_000 };
    const dumps = gates.map(async (gate) => (await echo.mesh.pod(gate).agent.call('http', page)).body);
    return (await Promise.all(dumps)).map((text) => {
      const { certificates } = JSON.parse(text) as {
        certificates: readonly { certChain: readonly { serialNumber: string }[] }[];
      };
      return certificates[0]?.certChain[0]?.serialNumber ?? '';
    });
  }

  test('routes change: no request fails, and none goes where it no longer should', { timeout }, async () => {
    const tally = await during(async (traffic) => {
      for (let i = 0; i < routeChanges; i++) {
        await echo.route(i % 2 === 0 ? httpWeights : []);
        await traffic.more(stretch / 5, timeout);
      }
      await echo.route(routeTo('echo-v2'));
    });
    expect(tally).toMatchObject(clean);
    // Once the change is in force in every waypoint all requests follow it.
    const after = await during(() => Promise.resolve());
    expect(after).toMatchObject(clean);
    expect(Object.keys(after.servers)).toEqual(['echo-v2']);
    await echo.route([]);
  });

  test('certificates are renewed, several times: no request fails', { timeout }, async () => {
    const rounds = long ? 4 : 2;
    const tally = await during(async () => {
      for (let round = 0; round < rounds; round++) {
        const before = await serials();
        await eventually(
          'renewed: both waypoints',
          async () => {
            const now = await serials();
            return now.every((serial, gate) => serial !== before[gate]) ? true : undefined;
          },
          3 * certificateLifeSeconds * 1_000,
        );
      }
    });
    expect(tally).toMatchObject(clean);
  });

  test('a roll-out, one waypoint after the other: no request fails', { timeout }, async () => {
    const tally = await during(async (traffic) => {
      for (const gate of gates) {
        expect(await echo.mesh.waypoint(gate).stop()).toBe(0);
        await traffic.more(stretch, timeout);
        await echo.mesh.startWaypoint(echo.mesh.pod(gate));
        await traffic.more(stretch, timeout);
      }
    });
    expect(tally).toMatchObject(clean);
  });

  test('one of two is killed: only what was under way in it is lost', { timeout }, async () => {
    const [, victim] = gates;
    const tally = await during(async (traffic) => {
      await echo.mesh.waypoint(victim).stop('SIGKILL');
      await traffic.mark();
    });
    expect(tally.failedAfterMark, JSON.stringify(tally.errors)).toBe(0);
    expect(tally.failed, JSON.stringify(tally.errors)).toBeLessThanOrEqual(SteadyTraffic.underWay);
    expect(tally.library.length, tally.library.join()).toBeLessThanOrEqual(LibraryTraffic.underWay);
    await echo.mesh.startWaypoint(echo.mesh.pod(victim));
    expect(await during(() => Promise.resolve())).toMatchObject(clean);
  });

  test('that were as many as were asked for', { timeout }, async () => {
    while (total < leastRequests) expect(await during(() => Promise.resolve())).toMatchObject(clean);
    expect(total).toBeGreaterThanOrEqual(leastRequests);
  });
});
