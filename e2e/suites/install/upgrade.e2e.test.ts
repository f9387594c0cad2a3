// The node tunnels of a running cluster are replaced, as a new version is: one after the other takes over, and no request
// is lost. And one that is killed comes back by itself, with its pods still captured.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import type { AgentCaller, LoadReport } from '../../lab/agent-protocol.ts';
import { eventually } from '../../demo/eventually.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshNamespace } from '../mesh-installation.ts';
import { killNodeTunnel, tunnelRestarts, untilCaptured } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const long = process.env['WEFT_LONG'] === '1';
const rollouts = long ? 10 : 1;
const leastRequests = long ? 100_000 : 500;
/** Of new connections, each with one request: 200 in all. */
const perSecond = 200 / nodes.length;
const timeout = long ? 1_800_000 : 180_000;
const tunnels = 'daemonset/weft-ztunnel';

describe('node tunnels', () => {
  const app = appNamespace(cluster, 'upgraded');
  const agents = nodes.map((node) => app.agent(node));
  /** A replica on each node: half of the connections cross the network. */
  const load = {
    id: 'upgrade',
    kind: 'connections',
    host: 'web.upgraded',
    port: 80,
    concurrency: 8,
  } as const;

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create({ labels: { 'weft.dev/mode': 'ambient' } });
    await untilCaptured(cluster, app);
  });
  afterAll(async () => await app.remove());

  test('are rolled out anew under 200 requests a second: none is lost, and each pod is served by a new one', {
    timeout,
  }, async () => {
    const before = await tunnelNames();
    await Promise.all(agents.map((agent) => agent.call('startLoad', { ...load, perSecond })));
    await Promise.all(agents.map((agent) => untilMore(agent, 100)));
    for (let i = 0; i < rollouts; i++) {
      await kubectl.ok(['rollout', 'restart', '-n', meshNamespace, tunnels]);
      await kubectl.rolledOut(meshNamespace, tunnels, 150);
      await Promise.all(agents.map((agent) => untilMore(agent, 100)));
    }
    // Until those that were replaced have ended.
    await eventually(
      'ended: every node tunnel of before',
      async () => ((await tunnelNames()).length === nodes.length ? true : undefined),
      60_000,
    );
    await Promise.all(agents.map((agent) => untilDone(agent, leastRequests / nodes.length)));
    const reports = await Promise.all(agents.map((agent) => agent.call('stopLoad', load.id)));
    for (const { failed, errors } of reports) expect({ failed, errors }).toEqual({ failed: 0, errors: {} });
    const names = await tunnelNames();
    expect(names.filter((name) => before.includes(name))).toEqual([]);
    if (long) console.log(`${total(reports)} requests, ${rollouts} rollouts of ${nodes.length} node tunnels`);
  });

  test('that are killed come back by themselves: until then connections wait or are refused, then they are served', async () => {
    const [node = ''] = nodes;
    const agent = app.agent(node);
    const restarts = await tunnelRestarts(cluster);
    await agent.call('startLoad', { ...load, perSecond: 50 });
    await untilMore(agent, 20);
    await killNodeTunnel(cluster, node);
    const killed = performance.now();
    await agent.call('markLoad', load.id);
    await eventually(
      'served again',
      async () => ((await agent.call('loadProgress', load.id)).afterMark.succeeded > 0 ? true : undefined),
      60_000,
    );
    console.log(`served again ${((performance.now() - killed) / 1000).toFixed(1)} s after kill -9`);
    await untilMore(agent, 50);
    const { errors } = await agent.call('stopLoad', load.id);
    // What was open is cut; what came while it was away was refused, names too: no other outcome.
    for (const code of Object.keys(errors))
      expect(['ECONNRESET', 'ECONNREFUSED', 'EOF', 'EAI_AGAIN']).toContain(code);
    expect(await tunnelRestarts(cluster)).toBe(restarts + 1);
    await untilCaptured(cluster, app);
  });

  async function tunnelNames(): Promise<readonly string[]> {
    const selector = ['-l', 'app.kubernetes.io/name=weft-ztunnel', '-o', 'name'];
    return (await kubectl.ok(['get', 'pods', '-n', meshNamespace, ...selector])).trim().split('\n');
  }

  /** Resolves when the load has gone on by so many. */
  async function untilMore(agent: AgentCaller, count: number): Promise<void> {
    const { succeeded } = await agent.call('loadProgress', load.id);
    await untilDone(agent, succeeded + count);
  }

  async function untilDone(agent: AgentCaller, count: number): Promise<void> {
    const enough = async () => (await agent.call('loadProgress', load.id)).succeeded >= count || undefined;
    await eventually(`${count} requests`, enough, timeout);
  }
});

function total(reports: readonly LoadReport[]): number {
  return reports.reduce((sum, { succeeded }) => sum + succeeded, 0);
}
