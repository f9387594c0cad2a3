// A cluster in which all is well: two nodes, a namespace `shop` of the mesh with a client and a server. Tests change what
// they are about.

import type { NodeState, NodesPage } from '../../../mesh/node-report/nodes-page.ts';
import type { ClusterFacts, NodeFact, PodFact, WorkloadFact } from '../cluster-facts.ts';
import { readWantedDefinitions } from '../gather-facts.ts';

export const now = Date.parse('2030-01-01T00:00:00Z');
const wanted = readWantedDefinitions();
const ready = [{ type: 'Ready', status: 'True' }];

/** Made for this test; good until 2040-07-30. */
export const rootPem = `-----BEGIN CERTIFICATE-----
MIIBkTCCATegAwIBAgIUcL+EX/K8L8IaEI8M3kS5DPHxCy4wCgYIKoZIzj0EAwIw
HjENMAsGA1UECgwEd2VmdDENMAsGA1UEAwwEcm9vdDAeFw0yNjExMjExMTI1NDha
Fw00MDA3MzAxMTI1NDhaMB4xDTALBgNVBAoMBHdlZnQxDTALBgNVBAMMBHJvb3Qw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATfTVPA8NwOxaOYCFX9VMWrM0i+5xJA
WJCyr+SJNJvedsYZo1nxBtCyLrF49VBf1tZ90AzSv/3InAKScYFYQSJKo1MwUTAd
BgNVHQ4EFgQUr6e8O/+XZxEgyH2PAy6WsBVkl34wHwYDVR0jBBgwFoAUr6e8O/+X
ZxEgyH2PAy6WsBVkl34wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBF
AiEAlTS0po9d0xfKYffKzAz+3QjQpIGVndXKBLlCC+mmCZkCIF98LhohOkhXvGiH
OiuuWrjbFC3225zp6q1JF58KUK0L
-----END CERTIFICATE-----
`;

export function healthyFacts(changes: Partial<ClusterFacts> = {}): ClusterFacts {
  return {
    now,
    namespace: 'weft-system',
    version: '0.1.0',
    server: 'https://192.0.2.1:6443',
    serverVersion: 'v1.34.4',
    unreadable: [],
    wantedDefinitions: wanted,
    definitions: [...wanted.values()].map((definition) => ({
      ...definition,
      status: { conditions: [{ type: 'Established', status: 'True' }] },
    })),
    nodes: [node('node-1'), node('node-2')],
    namespaces: [
      {
        metadata: {
          name: 'shop',
          labels: { 'weft.dev/mode': 'ambient', 'kubernetes.io/metadata.name': 'shop' },
        },
      },
      { metadata: { name: 'outside', labels: { 'kubernetes.io/metadata.name': 'outside' } } },
      { metadata: { name: 'weft-system' } },
      { metadata: { name: 'kube-system' } },
    ],
    pods: [
      tunnelPod('node-1'),
      tunnelPod('node-2'),
      controllerPod(),
      pod('client', { labels: { app: 'client' }, ip: '10.0.1.1' }),
      pod('web', { labels: { app: 'web' }, ip: '10.0.2.1', ports: [{ name: 'http', containerPort: 8080 }] }),
      pod('dns', { namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' }, ip: '10.0.1.2' }),
    ],
    networkPolicies: [],
    gateways: [],
    controller: workload('weft-controller', {
      observedGeneration: 1,
      availableReplicas: 1,
      updatedReplicas: 1,
    }),
    tunnels: workload('weft-ztunnel', {
      observedGeneration: 1,
      desiredNumberScheduled: 2,
      updatedNumberScheduled: 2,
      numberReady: 2,
    }),
    roots: rootPem,
    ciliumConfig: undefined,
    felix: undefined,
    page: page([nodeState('node-1'), nodeState('node-2')]),
    ...changes,
  };
}

export function node(name: string, changes: Partial<NodeFact> = {}): NodeFact {
  return {
    metadata: { name, labels: { 'kubernetes.io/os': 'linux' } },
    status: { conditions: ready },
    ...changes,
  };
}

export interface PodParts {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ip?: string;
  readonly ports?: NonNullable<PodFact['spec']['containers'][number]['ports']>;
  readonly node?: string;
  readonly hostNetwork?: boolean;
  readonly status?: PodFact['status'];
}

export function pod(name: string, parts: PodParts = {}): PodFact {
  const { namespace = 'shop', labels = {}, ip = '10.0.9.9', ports = [], node: nodeName = 'node-1' } = parts;
  return {
    metadata: { name, namespace, labels },
    spec: { nodeName, hostNetwork: parts.hostNetwork ?? false, containers: [{ ports }] },
    status: parts.status ?? { phase: 'Running', podIPs: [{ ip }], conditions: ready },
  };
}

export function tunnelPod(nodeName: string, status?: PodFact['status']): PodFact {
  const labels = {
    'app.kubernetes.io/name': 'weft-ztunnel',
    'app.kubernetes.io/part-of': 'weft',
    'weft.dev/mode': 'none',
  };
  const parts = { namespace: 'weft-system', labels, node: nodeName, ...(status !== undefined && { status }) };
  return pod(`weft-ztunnel-${nodeName}`, parts);
}

export function controllerPod(status?: PodFact['status']): PodFact {
  const labels = {
    'app.kubernetes.io/name': 'weft-controller',
    'app.kubernetes.io/part-of': 'weft',
    'weft.dev/mode': 'none',
  };
  return pod('weft-controller-1', {
    namespace: 'weft-system',
    labels,
    ...(status !== undefined && { status }),
  });
}

function workload(name: string, status: WorkloadFact['status']): WorkloadFact {
  return {
    metadata: { name, namespace: 'weft-system', generation: 1 },
    spec: {
      replicas: 1,
      template: { spec: { containers: [{ image: 'weft:0.1.0', args: ['controller'] }] } },
    },
    ...(status !== undefined && { status }),
  };
}

export function page(nodes: readonly NodeState[], changes: Partial<NodesPage> = {}): NodesPage {
  return {
    leading: true,
    leader: 'weft-controller-1_1',
    version: '0.1.0',
    now,
    nodes: [...nodes],
    hostNetworkPods: [],
    ...changes,
  };
}

export function nodeState(name: string, changes: Partial<NodeState> = {}): NodeState {
  return {
    node: name,
    state: 'reporting',
    reportedAt: now - 1_000,
    clockSkewMs: 12,
    version: '0.1.0',
    kernelRelease: '6.6.1',
    startedAt: now - 60_000,
    workers: 1,
    cgroupRoot: '/sys/fs/cgroup',
    missingFeatures: [],
    cni: { state: 'chained', message: '' },
    certificateExpiry: now + 80_000_000,
    pods: [],
    ...changes,
  };
}

export function podCapture(
  name: string,
  changes: Partial<NodeState['pods'][number]> = {},
): NodeState['pods'][number] {
  return {
    namespace: 'shop',
    name,
    state: 'captured',
    reason: 'ProbeAnswered',
    message: '',
    since: now - 3_600_000,
    earlierConnections: 0,
    ...changes,
  };
}
