import { beforeAll, describe, expect, test } from 'vitest';
import { sessionCluster } from '../../cluster/session.ts';
import { installMesh, meshNamespace } from '../mesh-installation.ts';

const cluster = sessionCluster();
const { kubectl } = cluster;

interface Policy {
  readonly metadata: { readonly generation: number };
  readonly status?: {
    readonly conditions: readonly {
      readonly type: string;
      readonly status: string;
      readonly observedGeneration: number;
    }[];
  };
}

const policy = {
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'PeerAuthentication',
  metadata: { name: 'default', namespace: 'default' },
  spec: { mtls: { mode: 'PERMISSIVE' } },
};

describe('the controller in a cluster', () => {
  beforeAll(async () => await installMesh(cluster));

  test('runs from its image with two replicas on different nodes', async () => {
    const selector = 'app.kubernetes.io/name=weft-controller';
    const { items } = await kubectl.json<{ items: { spec: { nodeName: string } }[] }>([
      ...['get', 'pods', '-n', meshNamespace, '-l', selector],
    ]);
    expect(items.map(({ spec }) => spec.nodeName).toSorted()).toEqual([...cluster.nodes].toSorted());
  });

  test('writes the status of a policy', async () => {
    await kubectl.apply(JSON.stringify(policy));
    const accepted = '--for=condition=Accepted';
    await kubectl.ok(['wait', accepted, 'peerauthentication/default', '-n', 'default', '--timeout=20s']);
    const { metadata, status } = await kubectl.json<Policy>([
      'get',
      'peerauthentication',
      'default',
      '-n',
      'default',
    ]);
    expect(status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Accepted', status: 'True', observedGeneration: metadata.generation }),
    );
    await kubectl.ok(['delete', 'peerauthentication', 'default', '-n', 'default']);
  });
});
