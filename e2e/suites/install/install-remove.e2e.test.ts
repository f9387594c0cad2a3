// From nothing to a mesh that `weft check` finds well, and back to nothing: on the nodes, in the API server, and for the
// pods, which are never restarted. Runs last, as it takes the mesh away from whoever shares the cluster.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { weft } from '../../kubernetes/weft-command.ts';
import type { AgentCaller } from '../../lab/agent-protocol.ts';
import { appNamespace } from '../app-namespace.ts';
import { installationManifest } from '../mesh-installation.ts';
import { untilCaptured } from '../node-tunnels.ts';
import { type NodeTraces, nodeTraces, objectNames } from './traces.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;

describe('an installation', () => {
  const app = appNamespace(cluster, 'guest');
  let before: { readonly objects: readonly string[]; readonly nodes: readonly NodeTraces[] };
  let pods: readonly string[];

  const look = async () => ({
    objects: await objectNames(cluster),
    nodes: await Promise.all(nodes.map((node) => nodeTraces(cluster, node))),
  });
  const callAll = async () => {
    for (const node of nodes) {
      const answers = await app.callFrom(node, 'http://web/', 8);
      expect(new Set(answers.map(({ peer }) => peer))).toEqual(new Set([await app.clientAddress(node)]));
    }
  };

  beforeAll(async () => {
    // What earlier suites installed.
    expect(await weft(cluster, 'uninstall', '--yes', '--crds', '--labels')).toMatchObject({ status: 0 });
    // Theirs, as Gateways and routes are: without the kinds of Gateway API there is none.
    await kubectl.run(['delete', 'gatewayclass', 'weft-waypoint', '--ignore-not-found']);
    await app.create();
    pods = await app.podNames();
    before = await look();
  });
  afterAll(async () => await app.remove());

  test('starts from nothing', () => {
    expect(before.objects.filter((name) => /weft/.test(name))).toEqual([]);
    for (const { files, chains, programs } of before.nodes) {
      expect(JSON.stringify(chains)).not.toContain('weft');
      expect(files.filter((line) => /weft/.test(line))).toEqual([]);
      expect(programs).toEqual({});
    }
  });

  test('is well within 60 s', async () => {
    const started = performance.now();
    await kubectl.apply(await installationManifest('--ha'));
    const { status, out, err } = await weft(cluster, 'check', '--wait', '60');
    const seconds = (performance.now() - started) / 1000;
    expect([status, out, err]).toEqual([0, expect.stringContaining('The mesh works'), '']);
    console.log(`weft install to a green weft check: ${seconds.toFixed(1)} s`);
  });

  test('captures pods, and the check counts them', async () => {
    await app.label('weft.dev/mode=ambient');
    await untilCaptured(cluster, app);
    await callAll();
    const { status, out } = await weft(cluster, 'check', '--wait', '20');
    expect([status, out]).toEqual([0, expect.stringContaining(`${pods.length} of ${pods.length} captured`)]);
    for (const node of nodes) {
      const { files, chains, programs } = await nodeTraces(cluster, node);
      expect(JSON.stringify(chains)).toContain('weft');
      expect(files.filter((line) => line.startsWith('/sys/fs/bpf/weft/'))).not.toEqual([]);
      if (cluster.backend === 'local') expect(Object.keys(programs)).not.toEqual([]);
    }
  });

  test('has a check that finds a NetworkPolicy that keeps its port out', async () => {
    const spec = { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ ports: [{ port: 8080 }] }] };
    const metadata = { name: 'web', namespace: app.name };
    await kubectl.apply(
      JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec }),
    );
    const { status, out } = await weft(cluster, 'check');
    await kubectl.ok(['delete', 'networkpolicy', 'web', '-n', app.name]);
    expect([status, out]).toEqual([
      1,
      expect.stringMatching(/networkpolicy guest\/web: does not let TCP 15008 in/),
    ]);
  });

  test('is removed under load: no new connection fails, a kept one is cut once, after its grace time', async () => {
    const target = { host: 'web.guest', port: 80, perSecond: 25, concurrency: 4 };
    const kinds = ['connections', 'requests'] as const;
    const each = <T>(run: (agent: AgentCaller, kind: (typeof kinds)[number]) => Promise<T>) =>
      Promise.all(nodes.flatMap((node) => kinds.map((kind) => run(app.agent(node), kind))));
    await each((agent, kind) => agent.call('startLoad', { id: kind, kind, ...target }));
    const { status, out } = await weft(cluster, 'uninstall', '--yes', '--crds');
    const reports = await each(async (agent, kind) => ({ kind, ...(await agent.call('stopLoad', kind)) }));
    expect([status, out]).toEqual([0, expect.stringContaining('Done')]);
    for (const { kind, succeeded, failed, errors } of reports) {
      expect(succeeded).toBeGreaterThan(100);
      const allowed = kind === 'requests' ? target.concurrency : 0;
      expect(failed, `${kind}: ${JSON.stringify(errors)}`).toBeLessThanOrEqual(allowed);
    }
  });

  test('leaves nothing, and its pods talk as before', async () => {
    const after = await look();
    expect(after.objects.filter((name) => !before.objects.includes(name))).toEqual([]);
    expect(after.nodes).toEqual(before.nodes);
    await callAll();
    expect(await app.podNames()).toEqual(pods);
    const conditions = [
      'get',
      'pods',
      '-n',
      app.name,
      '-o',
      'jsonpath={.items[*].status.conditions[*].type}',
    ];
    expect(await kubectl.ok(conditions)).not.toContain('weft');
  });
});
