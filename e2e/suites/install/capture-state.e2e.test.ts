// What a cluster is told of the capture of its pods: the condition of each comes and goes with the label, outlives whatever
// happens to its node, and a pod that somebody took out of capture by hand sends nothing that is taken in plaintext.

import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh, meshRunning } from '../mesh-installation.ts';
import { killNodeTunnel, signalNodeTunnel, tunnelRestarts } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;
const namespace = 'proved';
const node = cluster.nodes[0] ?? '';
const detachHooks = fileURLToPath(new URL('detach-hooks-main.ts', import.meta.url));

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly nodeName: string };
    readonly status: {
      readonly conditions: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason: string;
      }[];
    };
  }[];
}

/** `STATUS REASON` by pod; `''` for one without the condition. */
async function conditions(onNode?: string): Promise<Readonly<Record<string, string>>> {
  const { items } = await kubectl.json<Pods>(['get', 'pods', '-n', namespace]);
  const entries = items
    .filter(({ spec }) => onNode === undefined || spec.nodeName === onNode)
    .map(({ metadata, status }) => {
      const condition = status.conditions.find(({ type }) => type === 'weft.dev/Captured');
      return [metadata.name, condition === undefined ? '' : `${condition.status} ${condition.reason}`];
    });
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Resolves when every pod, or every one of a node, has this condition. */
async function untilAll(
  condition: string,
  { onNode, timeout = 30_000 }: { onNode?: string; timeout?: number } = {},
) {
  const seen = async () => [...new Set(Object.values(await conditions(onNode)))];
  await expect.poll(seen, { timeout, interval: 200 }).toEqual([condition]);
}

const captured = 'True Captured';

describe('the capture of pods, as the cluster is told of it', () => {
  const app = appNamespace(cluster, namespace);
  let isAway = false;

  beforeAll(async () => {
    await installMesh(cluster);
    await app.create();
  });
  afterAll(async () => {
    if (isAway) await cluster.restartNode(node);
    else await signalNodeTunnel(cluster, node, 'CONT');
    await meshRunning(kubectl);
    await app.remove();
  }, 180_000);

  test('comes with the label, goes with it, and can be waited for', async () => {
    await app.label('weft.dev/mode=ambient');
    const wait = ['wait', '-n', namespace, '--for=condition=weft.dev/Captured', 'pod', '--all'];
    await kubectl.ok([...wait, '--timeout=30s']);
    await untilAll(captured);
    await app.label('weft.dev/mode-');
    await untilAll('');
    await app.label('weft.dev/mode=ambient');
    await untilAll(captured);
  });

  test('is right after kill -9 of the node tunnel and after a restart of containerd', async () => {
    const restarts = await tunnelRestarts(cluster);
    await killNodeTunnel(cluster, node);
    await expect.poll(() => tunnelRestarts(cluster), { timeout: 30_000 }).toBe(restarts + 1);
    await cluster.restartService(node, 'containerd');
    const served = async () => expect(await app.callFrom(node, 'http://web/', 4)).toHaveLength(4);
    await vi.waitFor(served, { timeout: 30_000, interval: 200 });
    await untilAll(captured);
  });

  test.runIf(cluster.backend === 'local')(
    'with mTLS STRICT a pod that was taken out of capture by hand gets nothing, until it is captured again',
    async () => {
      const policy = {
        apiVersion: 'weft.dev/v1alpha1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace },
        spec: { mtls: { mode: 'STRICT' } },
      };
      onTestFinished(async () => {
        await signalNodeTunnel(cluster, node, 'CONT');
        await kubectl.ok(['delete', 'peerauthentication', 'strict', '-n', namespace]);
      });
      await kubectl.apply(JSON.stringify(policy));
      // Deaf, it can not put right what is done next.
      await signalNodeTunnel(cluster, node, 'STOP');
      const { status, stdout, stderr } = await cluster.execOnNode(node, [process.execPath, detachHooks]);
      expect([status, stderr, stdout.trim()]).toEqual([0, '', '2']);
      const outcomes = await app.outcomes(node, 'http://web/', 4);
      expect(outcomes.filter(({ status: answered }) => answered !== undefined)).toEqual([]);
      await signalNodeTunnel(cluster, node, 'CONT');
      const served = async () => expect(await app.callFrom(node, 'http://web/', 4)).toHaveLength(4);
      await vi.waitFor(served, { timeout: 30_000, interval: 200 });
      await untilAll(captured);
    },
  );

  test('is unknown while the node is away, and right again after it is back', async () => {
    isAway = true;
    await cluster.killNode(node);
    await untilAll('Unknown NodeNotReporting', { onNode: node, timeout: 90_000 });
    await cluster.restartNode(node);
    isAway = false;
    await meshRunning(kubectl);
    await kubectl.ok(['wait', '-n', namespace, '--for=condition=Ready', 'pod', '--all', '--timeout=90s']);
    await untilAll(captured, { timeout: 60_000 });
  }, 240_000);
});
