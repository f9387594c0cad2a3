// The ways into a captured namespace that kube-proxy and the CNI make, in both modes of kube-proxy: from inside the mesh and
// from outside, across nodes and on one.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { appContainer, appService } from '../app-manifests.ts';
import { appNamespace } from '../app-namespace.ts';
import { installMesh } from '../mesh-installation.ts';
import { nodeAddresses } from '../node-addresses.ts';
import { untilCaptured } from '../node-tunnels.ts';

const cluster = sessionCluster();
const { kubectl, nodes } = cluster;
const namespace = 'ways';
const nodePort = 30_080;
const hostPort = 18_080;
const everyNode = new Set(nodes);

/** A pod at a port of its node. */
function hostPortPod(node: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `host-port-${node}`, namespace },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ ...appContainer(), ports: [{ containerPort: 8080, hostPort }] }],
    },
  };
}

const outsideService = appService(
  { name: 'node-port', namespace },
  { type: 'NodePort', ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort }] },
);

describe('ways into a captured namespace', () => {
  const inside = appNamespace(cluster, namespace);
  const outside = appNamespace(cluster, 'beyond');
  let addresses: ReadonlyMap<string, string>;

  beforeAll(async () => {
    await installMesh(cluster);
    await Promise.all([inside.create({ labels: { 'weft.dev/mode': 'ambient' } }), outside.create()]);
    const objects = [outsideService, ...nodes.map(hostPortPod)];
    await kubectl.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
    await kubectl.ok(['wait', '-n', namespace, '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    await untilCaptured(cluster, inside);
    addresses = await nodeAddresses(cluster);
  });
  afterAll(async () => {
    await cluster.setKubeProxyMode('nftables');
    await Promise.all([inside.remove(), outside.remove()]);
  });

  /** From each node; the answers of a batch come from these nodes. */
  async function expectNodes(
    url: string,
    wanted: ReadonlySet<string>,
    from: readonly (typeof inside)[] = [inside, outside],
  ): Promise<void> {
    for (const app of from)
      for (const node of nodes) {
        const answering = async () =>
          new Set((await app.callFrom(node, url, 16)).map((answer) => answer.node));
        await vi.waitFor(async () => expect(await answering()).toEqual(wanted), { timeout: 20_000 });
      }
  }

  describe.each(['nftables', 'iptables'] as const)('with kube-proxy in mode %s', (mode) => {
    beforeAll(async () => await cluster.setKubeProxyMode(mode));

    test('runs in that mode and in no other', async () => {
      const marks = { nftables: 'table ip kube-proxy', iptables: 'chain KUBE-SERVICES' };
      for (const node of nodes) {
        const modes = async () => {
          const { stdout } = await cluster.execOnNode(node, ['nft', 'list', 'ruleset']);
          return Object.entries(marks).flatMap(([name, mark]) => (stdout.includes(mark) ? [name] : []));
        };
        await expect.poll(modes, { timeout: 20_000 }).toEqual([mode]);
      }
    });

    test('a Service is answered by every pod, which see the address of the caller', async () => {
      await expectNodes('http://web.ways/', everyNode);
      for (const node of nodes) {
        const peers = (await inside.callFrom(node, 'http://web.ways/', 8)).map(({ peer }) => peer);
        expect(new Set(peers)).toEqual(new Set([await inside.clientAddress(node)]));
      }
    });

    test('a NodePort is answered at every node', async () => {
      for (const address of addresses.values())
        await expectNodes(`http://${address}:${nodePort}/`, everyNode);
    });

    test('a hostPort is answered by the pod that has it', async () => {
      for (const [node, address] of addresses)
        await expectNodes(`http://${address}:${hostPort}/`, new Set([node]));
    });
  });
});
