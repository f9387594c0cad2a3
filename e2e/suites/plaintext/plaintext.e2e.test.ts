// Proof by packet capture: while a namespace is STRICT, whatever happens to its node tunnels, no frame on any link of any
// node holds a byte of what its pods say to each other. The same capture sees the same payload before enrolment.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { session, sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshRunning } from '../mesh-installation.ts';
import { killNodeTunnel, untilCaptured } from '../node-tunnels.ts';
import { WireWatch } from './wire-watch.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'vault';
const secret = 'the-combination-of-the-vault';
/** What is asked, what is answered, and what the streams of the load exchange. */
const payloads = [secret, 'host: web.vault', '"pod":"web-', 'xxxxxxxx'];

const strict = {
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'PeerAuthentication',
  metadata: { name: 'strict', namespace },
  spec: { mtls: { mode: 'STRICT' } },
};

describe('on the wire', () => {
  const app = appNamespace(cluster, namespace);

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create();
  });
  afterAll(async () => await app.remove());

  async function watch(): Promise<WireWatch> {
    const watching = await WireWatch.open(cluster, payloads);
    onTestFinished(() => watching[Symbol.dispose]());
    return watching;
  }

  /** From every node to a pod of every node, by HTTP and on streams. */
  async function saySecrets(): Promise<void> {
    for (const node of nodes) {
      const answers = await app.callFrom(node, `http://web.${namespace}/${secret}`, 12);
      expect(new Set(answers.map((answer) => answer.node))).toEqual(new Set(nodes));
      const stream = { kind: 'round-trips', host: `web.${namespace}`, port: 9090 } as const;
      const load = { ...stream, concurrency: 4, perSecond: 100, durationMs: 500 };
      expect(await app.agent(node).call('load', load)).toMatchObject({ failed: 0, errors: {} });
    }
  }

  test('payloads are seen as long as nobody is enrolled', async () => {
    const wire = await watch();
    await vi.waitFor(saySecrets, { timeout: 20_000 });
    expect(wire.seen().guilty).toBeGreaterThan(10);
  });

  test('none is seen while the namespace is STRICT: not in traffic, not when a node tunnel is killed or replaced', {
    timeout: 240_000,
  }, async () => {
    await app.label('weft.dev/mode=ambient');
    await untilCaptured(cluster, app);
    await kubectl.apply(JSON.stringify(strict));
    // Every node has to have heard of every pod first; until then one may be dialled in plaintext, and refused.
    await vi.waitFor(saySecrets, { timeout: 20_000 });
    const wire = await watch();
    await saySecrets();
    const target = { host: `web.${namespace}`, port: 80, concurrency: 4, perSecond: 100 };
    for (const node of nodes)
      await app.agent(node).call('startLoad', { id: 'steady', kind: 'connections', ...target });
    await killNodeTunnel(cluster, nodes.at(-1) ?? '');
    // The kubelet waits longer with each restart of a container.
    await vi.waitFor(saySecrets, { timeout: 60_000 });
    await kubectl.ok(['rollout', 'restart', '-n', 'weft-system', 'daemonset/weft-ztunnel']);
    await meshRunning(kubectl);
    await vi.waitFor(saySecrets, { timeout: 30_000 });
    for (const node of nodes) {
      const { succeeded } = await app.agent(node).call('stopLoad', 'steady');
      expect(succeeded).toBeGreaterThan(100);
    }
    const { frames, guilty } = wire.seen();
    if (guilty > 0) wire.save(join(session().failures, 'plaintext'));
    expect(frames).toBeGreaterThan(1_000);
    expect(guilty).toBe(0);
  });
});
