import { describe, expect, it } from 'vitest';
import { gatewaySchema, type GatewayObject } from '../resources/gateway-gateway.ts';
import { type Manifest, waypointObjects, type WaypointFacts } from './waypoint-objects.ts';
import { readOverlay } from './waypoint-overlay.ts';

const settings = {
  image: 'registry.example/weft:1',
  controller: 'weft-controller.mesh.svc:15012',
  clusterId: 'c',
};

function gateway({
  annotations = {},
  infrastructure,
}: {
  annotations?: Record<string, string>;
  infrastructure?: object;
} = {}): GatewayObject {
  const { spec } = gatewaySchema.parse({ spec: { gatewayClassName: 'weft-waypoint', infrastructure } });
  const metadata = {
    name: 'wp',
    namespace: 'shop',
    labels: {},
    annotations,
    creationTimestamp: '',
    deleting: false,
    ownerReferences: [],
  };
  return { metadata, spec };
}

const facts = (object: GatewayObject, overlay: Record<string, string> = {}): WaypointFacts => ({
  gateway: object,
  uid: 'u1',
  apiVersion: 'gateway.networking.k8s.io/v1',
  roots: 'PEM',
  overlay: readOverlay(overlay, 'x').overlay,
});

interface PodTemplate {
  readonly metadata: { readonly labels: Record<string, string>; readonly annotations?: object };
  readonly spec: Record<string, unknown> & { readonly containers: Record<string, unknown>[] };
}

/** As far as the tests look. */
interface Made {
  readonly metadata: Record<string, unknown> & { readonly labels: Record<string, string> };
  readonly spec: Record<string, unknown> & { readonly template: PodTemplate };
}

function ofKind(manifests: readonly Manifest[], kind: string): Made {
  const found = manifests.find((manifest) => manifest.kind === kind);
  if (found === undefined) throw new Error(`No ${kind}`);
  return found as unknown as Made;
}

describe('waypointObjects()', () => {
  it('makes each object once, owned by the Gateway and with its name', () => {
    const { wanted, unwanted, problems } = waypointObjects(facts(gateway()), settings);
    expect(wanted.map(({ kind }) => kind)).toEqual([
      'ServiceAccount',
      'ConfigMap',
      'Service',
      'Deployment',
      'PodDisruptionBudget',
      'HorizontalPodAutoscaler',
    ]);
    expect([unwanted, problems]).toEqual([[], []]);
    for (const { kind, metadata } of wanted) {
      expect(metadata['ownerReferences']).toEqual([
        {
          apiVersion: 'gateway.networking.k8s.io/v1',
          kind: 'Gateway',
          name: 'wp',
          uid: 'u1',
          controller: true,
        },
      ]);
      expect(metadata).toMatchObject({
        namespace: 'shop',
        name: kind === 'ConfigMap' ? 'wp-weft-roots' : 'wp',
        labels: { 'gateway.networking.k8s.io/gateway-name': 'wp' },
      });
    }
  });

  it('runs pods that translation takes for the waypoint, with the mesh token and its root only', () => {
    const { template } = ofKind(waypointObjects(facts(gateway()), settings).wanted, 'Deployment').spec;
    expect(template.metadata.labels).toMatchObject({
      'gateway.networking.k8s.io/gateway-name': 'wp',
      'weft.dev/mode': 'none',
    });
    expect(template.spec).toMatchObject({ serviceAccountName: 'wp', automountServiceAccountToken: false });
    expect(template.spec.containers[0]).toMatchObject({
      image: 'registry.example/weft:1',
      args: expect.arrayContaining([
        '--gateway=shop/wp',
        '--controller=weft-controller.mesh.svc:15012',
        '--token-file=/var/run/secrets/weft/token',
        '--root-cert=/var/run/weft/root-cert.pem',
      ]) as unknown,
    });
  });

  it('gives infrastructure labels and annotations to every object, and to pods', () => {
    const infrastructure = { labels: { team: 'a' }, annotations: { note: 'b' } };
    const { wanted } = waypointObjects(facts(gateway({ infrastructure })), settings);
    for (const { metadata } of wanted)
      expect(metadata).toMatchObject({ labels: { team: 'a' }, annotations: { note: 'b' } });
    const { metadata } = ofKind(wanted, 'Deployment').spec.template;
    expect(metadata).toMatchObject({ labels: { team: 'a' }, annotations: { note: 'b' } });
  });

  it.each([
    [{}, { min: 2, max: 10 }],
    [{ 'weft.dev/min-replicas': '3' }, { min: 3, max: 10 }],
    [{ 'weft.dev/min-replicas': '20' }, { fixed: 20 }],
    [{ 'weft.dev/min-replicas': '1', 'weft.dev/max-replicas': '1' }, { fixed: 1 }],
  ])('scales by annotations %j', (annotations, expected) => {
    const { wanted, unwanted } = waypointObjects(facts(gateway({ annotations })), settings);
    const scaler = wanted.find(({ kind }) => kind === 'HorizontalPodAutoscaler');
    const replicas = ofKind(wanted, 'Deployment').spec['replicas'];
    if ('fixed' in expected) {
      expect([scaler, replicas]).toEqual([undefined, expected.fixed]);
      expect(unwanted.map(({ kind }) => kind)).toEqual(['HorizontalPodAutoscaler']);
    } else {
      expect(replicas).toBeUndefined();
      expect(scaler?.['spec']).toMatchObject({ minReplicas: expected.min, maxReplicas: expected.max });
    }
  });

  it.each([
    [{ 'weft.dev/min-replicas': 'many' }, /"many" is no number/],
    [{ 'weft.dev/max-replicas': '1' }, /less than the minimum of 2/],
  ])('tells of annotations that cannot be used: %j', (annotations, problem) => {
    expect(waypointObjects(facts(gateway({ annotations })), settings).problems).toEqual([
      expect.stringMatching(problem),
    ]);
  });

  it('lays the overlay over what it makes: objects by key, containers by name, null removes', () => {
    const overlay = {
      deployment: `
spec:
  template:
    spec:
      priorityClassName: high
      securityContext: null
      containers:
        - { name: waypoint, resources: { limits: { memory: 2Gi } } }
        - { name: extra, image: x }`,
      service: 'metadata: { annotations: { a: b } }\nspec: { type: LoadBalancer }',
    };
    const { wanted } = waypointObjects(facts(gateway(), overlay), settings);
    const { spec } = ofKind(wanted, 'Deployment').spec.template;
    expect(spec['priorityClassName']).toBe('high');
    expect(spec).not.toHaveProperty('securityContext');
    expect(spec.containers.map(({ name }) => name)).toEqual(['waypoint', 'extra']);
    expect(spec.containers[0]).toMatchObject({
      image: 'registry.example/weft:1',
      resources: { limits: { memory: '2Gi' }, requests: { cpu: '100m' } },
    });
    const service = ofKind(wanted, 'Service');
    expect(service.spec).toMatchObject({ type: 'LoadBalancer' });
    expect(service.metadata['annotations']).toEqual({ a: 'b' });
  });

  it('stays the waypoint whatever the overlay says', () => {
    const overlay = {
      deployment: `
kind: DaemonSet
metadata: { name: other, namespace: other, ownerReferences: [], labels: { gateway.networking.k8s.io/gateway-name: x } }
spec:
  selector: { matchLabels: { a: b } }
  template: { metadata: { labels: { gateway.networking.k8s.io/gateway-name: x } }, spec: { serviceAccountName: root } }`,
    };
    const { wanted } = waypointObjects(facts(gateway(), overlay), settings);
    const deployment = ofKind(wanted, 'Deployment');
    expect(deployment.metadata).toMatchObject({
      name: 'wp',
      namespace: 'shop',
      ownerReferences: [{ uid: 'u1' }],
    });
    expect(deployment.metadata.labels['gateway.networking.k8s.io/gateway-name']).toBe('wp');
    const { selector, template } = deployment.spec;
    expect(selector).toEqual({ matchLabels: { 'gateway.networking.k8s.io/gateway-name': 'wp' } });
    expect(template.metadata.labels['gateway.networking.k8s.io/gateway-name']).toBe('wp');
    expect(template.spec.serviceAccountName).toBe('wp');
  });
});

describe('readOverlay()', () => {
  it('leaves out what it cannot read, and says what and why', () => {
    const { overlay, problems } = readOverlay(
      {
        deployment: 'spec: {',
        service: '- 1',
        daemonSet: '{}',
        podDisruptionBudget: 'spec: { maxUnavailable: 2 }',
      },
      'ConfigMap shop/p',
    );
    expect(overlay).toEqual({ podDisruptionBudget: { spec: { maxUnavailable: 2 } } });
    expect(problems).toEqual([
      expect.stringMatching(/^ConfigMap shop\/p: key "deployment" is no YAML: /),
      'ConfigMap shop/p: key "service" is no object in YAML',
      expect.stringMatching(/key "daemonSet" is none of deployment, /),
    ]);
  });

  it('takes no aliases, by which a small text becomes a large object', () => {
    const text = 'a: &a [1, 1]\nb: [*a, *a]';
    expect(readOverlay({ service: text }, 'x').problems).toHaveLength(1);
  });
});
