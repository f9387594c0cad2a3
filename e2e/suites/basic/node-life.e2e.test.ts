import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appNamespace } from '../app-namespace.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;

describe('nodes that are restarted', () => {
  const app = appNamespace(cluster, 'restarts');
  const node = cluster.nodes.at(-1) ?? '';
  const everyNode = new Set(cluster.nodes);

  beforeAll(async () => await app.create());
  afterAll(async () => await app.remove());

  const startTimes = async () =>
    await kubectl.ok([
      ...['get', 'pods', '-n', app.name, '-o'],
      'jsonpath={range .items[*]}{.status.containerStatuses[0].state.running.startedAt}{end}',
    ]);

  const everyNodeAnswers = async () => {
    const answers = await app.callFrom(node, 'http://web/', 16);
    expect(new Set(answers.map((answer) => answer.node))).toEqual(everyNode);
  };

  test.each(['containerd', 'kubelet', 'kube-proxy'] as const)(
    'pods outlive a kill of %s',
    async (service) => {
      const before = await startTimes();
      await cluster.restartService(node, service);
      // A kubelet that has just started takes a moment to find its pods.
      await vi.waitFor(everyNodeAnswers, { timeout: 30_000, interval: 250 });
      expect(await startTimes()).toBe(before);
    },
  );

  test('a node that is killed is noticed, and serves again after its restart', async () => {
    await cluster.killNode(node);
    await kubectl.ok(['wait', '--for=condition=Ready=Unknown', `node/${node}`, '--timeout=60s']);
    await cluster.restartNode(node);
    await kubectl.rolledOut(app.name, 'deployment/web', 60);
    await kubectl.ok(['wait', '-n', app.name, '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    // The cluster's DNS may have been on that node.
    await vi.waitFor(everyNodeAnswers, { timeout: 60_000, interval: 250 });
  });
});
