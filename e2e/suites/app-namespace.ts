// A namespace with the test application: Deployment and Service `web` with a replica on every node, and a pod
// `client-NODE` on each to call from.

import type { Cluster } from '../cluster/cluster.ts';
import { appImage } from '../images/build-images.ts';

export interface Answer {
  /** Who answered. */
  readonly pod: string;
  readonly node: string;
  /** Address of the caller as the server saw it. */
  readonly peer: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What one call came to: an HTTP answer, or the code of the error. */
export interface Outcome {
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
}

export interface AppOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * By whom readiness is asked: the kubelet over the network (default), or a program in the container, where the mesh
   * refuses the kubelet's plaintext.
   */
  readonly probe?: 'http' | 'exec';
}

export interface AppNamespace {
  readonly name: string;
  /** Resolves when every pod is ready. */
  create(options?: AppOptions): Promise<void>;
  label(label: string): Promise<void>;
  remove(): Promise<void>;
  /** `count` calls, each on a connection of its own, from the client of a node. */
  outcomes(node: string, url: string, count?: number): Promise<readonly Outcome[]>;
  /** The same; throws unless all were answered with 200. */
  callFrom(node: string, url: string, count?: number): Promise<readonly Answer[]>;
  clientAddress(node: string): Promise<string>;
  /** Sorted. */
  podNames(): Promise<readonly string[]>;
}

export function appNamespace({ kubectl, nodes }: Cluster, name: string): AppNamespace {
  const outcomes: AppNamespace['outcomes'] = async (node, url, count = 1) => {
    const argv = ['/usr/local/bin/node', '/app/call-main.ts', url, `${count}`];
    const { stdout, stderr } = await kubectl.exec(`${name}/client-${node}`, argv);
    const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
    if (lines.length !== count) throw new Error(`Call from ${node} ended early: ${stderr}`);
    return lines.map((line) => JSON.parse(line) as Outcome);
  };
  return {
    name,
    async create({ labels = {}, probe = 'http' } = {}) {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
      const items = [
        namespace,
        deployment(name, { replicas: nodes.length, probe }),
        service(name),
        ...nodes.map((node) => client(name, node)),
      ];
      await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
      await kubectl.rolledOut(name, 'deployment/web');
      await kubectl.ok(['wait', '-n', name, '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    },
    label: async (label) => void (await kubectl.ok(['label', 'namespace', name, '--overwrite', label])),
    remove: async () => void (await kubectl.ok(['delete', 'namespace', name, '--timeout=120s'])),
    outcomes,
    async callFrom(node, url, count = 1) {
      return (await outcomes(node, url, count)).map((outcome) => {
        if (outcome.status !== 200)
          throw new Error(`Call of ${url} from ${node}: ${JSON.stringify(outcome)}`);
        return JSON.parse(outcome.body ?? '') as Answer;
      });
    },
    clientAddress: async (node) =>
      await kubectl.ok(['get', 'pod', '-n', name, `client-${node}`, '-o', 'jsonpath={.status.podIP}']),
    async podNames() {
      const { items } = await kubectl.json<{ items: { metadata: { name: string } }[] }>([
        'get',
        'pods',
        '-n',
        name,
      ]);
      return items.map(({ metadata }) => metadata.name).toSorted();
    },
  };
}

const probes = {
  http: { httpGet: { path: '/ready', port: 8080 } },
  exec: { exec: { command: ['/bin/wget', '-qO-', 'http://127.0.0.1:8080/ready'] } },
} as const;

function deployment(
  namespace: string,
  { replicas, probe }: { replicas: number; probe: keyof typeof probes },
): object {
  const matchLabels = { app: 'web' };
  const spread = { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace },
    spec: {
      replicas,
      selector: { matchLabels },
      template: {
        metadata: { labels: matchLabels },
        spec: {
          terminationGracePeriodSeconds: 2,
          topologySpreadConstraints: [{ ...spread, labelSelector: { matchLabels } }],
          containers: [
            {
              name: 'web',
              image: appImage,
              ports: [{ containerPort: 8080 }, { containerPort: 9090 }],
              env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
              readinessProbe: { ...probes[probe], periodSeconds: 1 },
            },
          ],
        },
      },
    },
  };
}

function service(namespace: string): object {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'tcp', port: 9090 },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports },
  };
}

function client(namespace: string, node: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `client-${node}`, namespace, labels: { app: 'client' } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'client', image: appImage, command: ['/bin/sleep', '86400'] }],
    },
  };
}
