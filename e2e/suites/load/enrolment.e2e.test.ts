// A namespace is enrolled and let go again under steady load, across nodes and on one: nothing is lost, and connections
// that are open at that moment live on.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { SteadyTraffic } from '../../waypoint/steady-traffic.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh } from '../mesh-installation.ts';
import { untilCaptured, untilLetGo } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { nodes } = cluster;
/** Of each kind from each node: 200 in all. */
const perSecond = 200 / (2 * nodes.length);
/** Requests of each kind around each event. */
const stretch = 60;
const clean = { failed: 0, errors: {} };

describe('under 200 requests a second', () => {
  const app = appNamespace(cluster, 'steady');
  const target = { host: 'web.steady', port: 80, perSecond };

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create();
  });
  afterAll(async () => await app.remove());

  /** Load from every node while `event` happens; what became of it, by node. */
  async function during(event: () => Promise<void>): Promise<ReadonlyMap<string, object>> {
    const start = (node: string) => SteadyTraffic.start(app.agent(node), target);
    const traffic = await Promise.all(nodes.map(start));
    const more = () => Promise.all(traffic.map((each) => each.more(stretch, 30_000)));
    await more();
    await event();
    await more();
    const tallies = await Promise.all(traffic.map((each) => each.stop()));
    return new Map(nodes.map((node, index) => [node, tallies[index] as object]));
  }

  /** Streams that exchange lines with every replica, ten times a second each, and one that only says something at the end. */
  async function openStreams(): Promise<void> {
    for (const node of nodes) {
      const agent = app.agent(node);
      const stream = { kind: 'round-trips', host: 'web.steady', port: 9090 } as const;
      await agent.call('startLoad', { id: 'streams', ...stream, concurrency: 8, perSecond: 80 });
      await agent.call('open', { id: 'held', host: 'web.steady', port: 9090 });
      expect(await agent.call('exchange', { id: 'held', text: 'first' })).toBe('first');
    }
  }

  /** None of them ended, and all still work. */
  async function expectStreams(): Promise<void> {
    for (const node of nodes) {
      const agent = app.agent(node);
      const { succeeded } = await agent.call('loadProgress', 'streams');
      const further = async () => (await agent.call('loadProgress', 'streams')).succeeded - succeeded;
      await expect.poll(further, { timeout: 10_000 }).toBeGreaterThan(80);
      expect(await agent.call('exchange', { id: 'held', text: 'again' })).toBe('again');
    }
  }

  async function closeStreams(): Promise<void> {
    for (const node of nodes) {
      const agent = app.agent(node);
      await agent.call('close', 'held');
      const { failed, errors } = await agent.call('stopLoad', 'streams');
      expect({ node, failed, errors }).toEqual({ node, ...clean });
    }
  }

  const expectClean = (tallies: ReadonlyMap<string, object>) => {
    for (const [node, tally] of tallies)
      expect(tally, `from ${node}: ${JSON.stringify(tally)}`).toMatchObject(clean);
  };

  test('a namespace is enrolled: no request fails, and streams that were open before live on', async () => {
    await openStreams();
    const tallies = await during(async () => {
      await app.label('weft.dev/mode=ambient');
      await untilCaptured(cluster, app);
    });
    expectClean(tallies);
    await expectStreams();
    await closeStreams();
  });

  test('a namespace is let go: no request fails, and streams through the tunnels go on for as long as they like', async () => {
    await openStreams();
    const tallies = await during(async () => {
      await app.label('weft.dev/mode-');
      await untilLetGo(cluster, app);
    });
    expectClean(tallies);
    const until = performance.now() + 10_000;
    while (performance.now() < until) await expectStreams();
    await closeStreams();
  });

  test('a namespace is enrolled and let go again and again: no request fails', async () => {
    const tallies = await during(async () => {
      for (let round = 0; round < 4; round++) {
        await app.label('weft.dev/mode=ambient');
        await untilCaptured(cluster, app);
        await app.label('weft.dev/mode-');
        await untilLetGo(cluster, app);
      }
    });
    expectClean(tallies);
  });
});
