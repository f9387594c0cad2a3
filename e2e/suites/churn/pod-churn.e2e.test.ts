// A hundred pods come and go in a captured namespace; afterwards the node tunnels hold what they held before.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pauseImage } from '../../cluster/local/node-files.ts';
import { sessionCluster } from '../../cluster/session.ts';
import { installMesh } from '../mesh-installation.ts';
import { capturedPods } from '../node-tunnels.ts';
import { type Footprint, footprint } from './footprint.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'churn';
const rounds = 2;
const podsOfRound = 50;
/** MiB by which garbage not yet collected may differ; a leak of a megabyte a pod would be 50 a node. */
const memorySlack = 25;

const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'short-lived', namespace },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: 'short-lived' } },
    template: {
      metadata: { labels: { app: 'short-lived' } },
      spec: {
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        containers: [{ name: 'pause', image: pauseImage }],
      },
    },
  },
};

describe('a hundred pods that come and go', () => {
  beforeAll(async () => {
    await installMesh(cluster);
    await kubectl.ok(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s']);
    const labels = { 'weft.dev/mode': 'ambient' };
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };
    await kubectl.apply([object, deployment].map((each) => JSON.stringify(each)).join('\n---\n'));
  });
  afterAll(async () => void (await kubectl.ok(['delete', 'namespace', namespace, '--wait=false'])));

  /** Resolves when so many pods are captured, or none is left. */
  async function scaleTo(replicas: number): Promise<void> {
    await kubectl.ok(['scale', '-n', namespace, 'deployment/short-lived', `--replicas=${replicas}`]);
    const captured = async () => (await capturedPods(cluster, namespace)).length;
    await expect.poll(captured, { timeout: 120_000, interval: 500 }).toBe(replicas);
    const left = async () => (await kubectl.ok(['get', 'pods', '-n', namespace, '-o', 'name'])).trim();
    if (replicas === 0) await expect.poll(left, { timeout: 60_000, interval: 500 }).toBe('');
  }

  const footprints = async (): Promise<ReadonlyMap<string, Footprint>> =>
    new Map(await Promise.all(nodes.map(async (node) => [node, await footprint(cluster, node)] as const)));

  test('leave no descriptor, namespace, kernel object or memory behind', { timeout: 400_000 }, async () => {
    // What is made on first use is there before.
    await scaleTo(4);
    await scaleTo(0);
    const before = await footprints();
    for (let round = 0; round < rounds; round++) {
      await scaleTo(podsOfRound);
      await scaleTo(0);
    }
    for (const [node, { descriptors, memory, ...objects }] of before) {
      const exact = async () => {
        const { namespaces, pins, mapEntries } = await footprint(cluster, node);
        return { namespaces, pins, mapEntries };
      };
      await expect.poll(exact, { timeout: 30_000, interval: 500 }).toEqual(objects);
      const now = async () => await footprint(cluster, node);
      const open = async () => (await now()).descriptors;
      await expect.poll(open, { timeout: 30_000, interval: 500 }).toBeLessThanOrEqual(descriptors);
      const resident = async () => (await now()).memory;
      await expect.poll(resident, { timeout: 60_000, interval: 2_000 }).toBeLessThan(memory + memorySlack);
    }
  });
});
