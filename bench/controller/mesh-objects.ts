// The cluster that the controller is measured on: namespaces of ten Services, ten pods behind each, spread over the
// nodes. Objects look as an API server sends them, with what the mesh does not read, because reading past it costs too.

export interface MeshSize {
  readonly services: number;
  readonly pods: number;
  readonly nodes: number;
}

export interface RawObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Record<string, unknown> & { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

const servicesInNamespace = 10;
const created = '2026-01-01T00:00:00Z';

/** Name of the n-th node. */
export function nodeName(n: number): string {
  return `node-${n}`;
}

/** Every object of the cluster, each kind together. */
export function meshObjects(size: MeshSize): readonly RawObject[] {
  const count = (n: number, make: (i: number) => RawObject): RawObject[] =>
    Array.from({ length: n }, (_, i) => make(i));
  return [
    ...count(Math.ceil(size.services / servicesInNamespace), namespaceObject),
    ...count(size.nodes, nodeObject),
    ...count(size.services, serviceObject),
    ...count(size.pods, (i) => podObject(i, size)),
    ...count(size.services, (i) => sliceObject(i, size)),
  ];
}

/**
 * The i-th pod. `version` becomes the workload's revision on every node, so a node knows which change it saw.
 * @param options.version a label value
 */
export function podObject(i: number, size: MeshSize, options: { readonly version?: string } = {}): RawObject {
  const service = i % size.services;
  const app = `app-${service}`;
  const ip = podAddress(i);
  const labels = { app, version: options.version ?? 'v1', 'pod-template-hash': '5d4f8c7b9' };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${app}-5d4f8c7b9-${i.toString(36).padStart(5, '0')}`,
      namespace: namespaceOf(service),
      uid: uid('b', i),
      creationTimestamp: created,
      labels,
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-5d4f8c7b9`,
          uid: uid('c', service),
          controller: true,
        },
      ],
      managedFields: [{ manager: 'kubelet', operation: 'Update', time: created, fieldsV1: managedFields }],
    },
    spec: {
      nodeName: nodeName(i % size.nodes),
      serviceAccountName: app,
      containers: [
        {
          name: 'main',
          image: `registry.example/shop/${app}:1.0`,
          ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
          env: [{ name: 'MODE', value: 'production' }],
          resources: { requests: { cpu: '100m', memory: '128Mi' } },
          volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }],
        },
      ],
      volumes: [{ name: 'token', projected: { sources: [] } }],
      tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
        type,
        status: 'True',
        lastTransitionTime: created,
      })),
    },
  };
}

const managedFields = {
  'f:status': { 'f:conditions': { 'k:{"type":"Ready"}': { '.': {}, 'f:status': {}, 'f:type': {} } } },
};

function namespaceObject(n: number): RawObject {
  const metadata = { name: `ns-${n}`, uid: uid('a', n), labels: { 'weft.dev/mode': 'ambient' } };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { ...metadata, creationTimestamp: created } };
}

function nodeObject(n: number): RawObject {
  const labels = {
    'topology.kubernetes.io/region': 'region-1',
    'topology.kubernetes.io/zone': `region-1-${'abc'[n % 3]}`,
  };
  const metadata = { name: nodeName(n), uid: uid('d', n), labels, creationTimestamp: created };
  return { apiVersion: 'v1', kind: 'Node', metadata };
}

function serviceObject(n: number): RawObject {
  const address = `10.96.${n >> 8}.${n & 255}`;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `app-${n}`, namespace: namespaceOf(n), uid: uid('e', n), creationTimestamp: created },
    spec: {
      type: 'ClusterIP',
      selector: { app: `app-${n}` },
      clusterIP: address,
      clusterIPs: [address],
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' }],
      sessionAffinity: 'None',
    },
  };
}

function sliceObject(n: number, { services, pods, nodes }: MeshSize): RawObject {
  const members = Array.from({ length: Math.ceil((pods - n) / services) }, (_, k) => n + k * services);
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `app-${n}-x7k2p`,
      namespace: namespaceOf(n),
      uid: uid('f', n),
      creationTimestamp: created,
      labels: { 'kubernetes.io/service-name': `app-${n}` },
    },
    addressType: 'IPv4',
    endpoints: members.map((i) => ({
      addresses: [podAddress(i)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: nodeName(i % nodes),
    })),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

function namespaceOf(service: number): string {
  return `ns-${Math.floor(service / servicesInNamespace)}`;
}

/** Only data: nobody ever dials it. */
function podAddress(i: number): string {
  return `10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
}

function uid(kind: string, n: number): string {
  return `${kind.repeat(8)}-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
}
