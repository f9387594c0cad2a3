// The objects that run one waypoint in a cluster: ServiceAccount, root certificate, Deployment, Service, disruption budget
// and autoscaler, all with the Gateway's name and owned by it, so that Kubernetes removes them with the Gateway. Pure.

import type { GatewayObject } from '../resources/gateway-gateway.ts';
import { gatewayNameLabel, hbonePort } from '../translate/gateways.ts';
import { type Overlay, type OverlayKey, overlaid } from './waypoint-overlay.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>> & {
    readonly name: string;
    readonly namespace: string;
  };
  readonly [field: string]: unknown;
}

export interface WaypointSettings {
  /** With tag or digest. */
  readonly image: string;
  /** `host:port` that waypoints dial. */
  readonly controller: string;
  readonly clusterId: string;
}

export interface WaypointFacts {
  readonly gateway: GatewayObject;
  /** As the API server has it now. */
  readonly uid: string;
  readonly apiVersion: string;
  /** PEM. */
  readonly roots: string;
  /** Of the Gateway's ConfigMap, else of its class's. */
  readonly overlay: Overlay;
}

export interface WaypointObjects {
  /** To be applied in this order. */
  readonly wanted: readonly Manifest[];
  /** Not wanted with these settings: to be deleted if the Gateway owns them. */
  readonly unwanted: readonly Manifest[];
  /** What of the Gateway's parameters cannot be used; the defaults are in force for that. */
  readonly problems: readonly string[];
}

/** One waypoint that is away is no outage when two run. */
const defaultMinReplicas = 2;
const defaultMaxReplicas = 10;
const targetCpuPercent = 80;
const metricsPort = 15_020;
const readinessPort = 15_021;
const tokenDirectory = '/var/run/secrets/weft';
const rootDirectory = '/var/run/weft';
const rootFile = 'root-cert.pem';
/** The waypoint itself waits 25 s for open connections. */
const graceSeconds = 30;

export function waypointObjects(facts: WaypointFacts, settings: WaypointSettings): WaypointObjects {
  const problems: string[] = [];
  const replicas = replicaRange(facts.gateway, problems);
  const scaled = replicas.max > replicas.min;
  const identity = identityOf(facts);
  const make = (key: OverlayKey | undefined, manifest: Manifest): Manifest => {
    const { metadata, ...body } = overlaid(manifest, key === undefined ? undefined : facts.overlay[key]);
    // Whatever an overlay says, the object stays this waypoint's and its pods stay selected.
    const labels = { ...(metadata['labels'] as object | undefined), ...identity.labels };
    const annotations = { ...(metadata['annotations'] as object | undefined), ...identity.annotations };
    return { ...body, metadata: { ...metadata, ...identity.metadata, labels, annotations } };
  };
  const autoscaler = make('horizontalPodAutoscaler', horizontalPodAutoscaler(facts, replicas));
  return {
    wanted: [
      make('serviceAccount', bare(facts, 'v1', 'ServiceAccount')),
      { ...make(undefined, bare(facts, 'v1', 'ConfigMap')), ...rootsConfigMap(facts, identity) },
      make('service', service(facts)),
      selecting(make('deployment', deployment(facts, settings, scaled ? undefined : replicas.min)), facts),
      make('podDisruptionBudget', podDisruptionBudget(facts)),
      ...(scaled ? [autoscaler] : []),
    ],
    unwanted: scaled ? [] : [autoscaler],
    problems,
  };
}

export function rootsConfigMapName({ metadata }: GatewayObject): string {
  return `${metadata.name}-weft-roots`;
}

function identityOf({ gateway, uid, apiVersion }: WaypointFacts) {
  const { name, namespace } = gateway.metadata;
  const { labels = {}, annotations = {} } = gateway.spec.infrastructure ?? {};
  const owner = { apiVersion, kind: 'Gateway', name, uid, controller: true };
  return {
    labels: { ...labels, ...ownLabels(gateway) },
    annotations,
    metadata: { name, namespace, ownerReferences: [owner] },
  };
}

function ownLabels({ metadata, spec }: GatewayObject): Readonly<Record<string, string>> {
  return {
    [gatewayNameLabel]: metadata.name,
    'gateway.networking.k8s.io/gateway-class-name': spec.gatewayClassName,
    'app.kubernetes.io/part-of': 'weft',
  };
}

function bare({ gateway }: WaypointFacts, apiVersion: string, kind: string): Manifest {
  const { name, namespace } = gateway.metadata;
  return { apiVersion, kind, metadata: { name, namespace } };
}

function rootsConfigMap(
  { gateway, roots }: WaypointFacts,
  { labels, annotations, metadata }: ReturnType<typeof identityOf>,
): Pick<Manifest, 'metadata' | 'data'> {
  const name = rootsConfigMapName(gateway);
  return { metadata: { ...metadata, name, labels, annotations }, data: { [rootFile]: roots } };
}

function service(facts: WaypointFacts): Manifest {
  const ports = [
    { name: 'mesh', port: hbonePort, targetPort: hbonePort, protocol: 'TCP', appProtocol: 'hbone' },
    { name: 'status', port: readinessPort, targetPort: readinessPort, protocol: 'TCP' },
  ];
  const selector = { [gatewayNameLabel]: facts.gateway.metadata.name };
  return { ...bare(facts, 'v1', 'Service'), spec: { type: 'ClusterIP', selector, ports } };
}

function deployment(
  facts: WaypointFacts,
  settings: WaypointSettings,
  replicas: number | undefined,
): Manifest {
  const { gateway } = facts;
  const { labels = {}, annotations = {} } = gateway.spec.infrastructure ?? {};
  return {
    ...bare(facts, 'apps/v1', 'Deployment'),
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      // A new one is ready before an old one goes.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels: { ...labels, ...podLabels(gateway) }, annotations },
        spec: podSpec(facts, settings),
      },
    },
  };
}

function podLabels(gateway: GatewayObject): Readonly<Record<string, string>> {
  // It is the mesh: captured, its connections would run in a circle.
  return { ...ownLabels(gateway), 'weft.dev/mode': 'none' };
}

function podSpec({ gateway }: WaypointFacts, settings: WaypointSettings): object {
  const { name } = gateway.metadata;
  const selector = { matchLabels: { [gatewayNameLabel]: name } };
  return {
    serviceAccountName: name,
    // Only the token for the mesh is mounted: the API server is none of its business.
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: graceSeconds,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_532,
      runAsGroup: 65_532,
      fsGroup: 65_532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: selector,
      },
    ],
    containers: [container(gateway, settings)],
    volumes: [
      { name: 'state', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
      { name: 'roots', configMap: { name: rootsConfigMapName(gateway) } },
      {
        name: 'token',
        projected: {
          sources: [{ serviceAccountToken: { audience: 'weft', path: 'token', expirationSeconds: 3_600 } }],
        },
      },
    ],
  };
}

function container({ metadata }: GatewayObject, { image, controller, clusterId }: WaypointSettings): object {
  const probe = { httpGet: { path: '/healthz/ready', port: readinessPort }, timeoutSeconds: 5 };
  return {
    name: 'waypoint',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: [
      'waypoint',
      `--gateway=${metadata.namespace}/${metadata.name}`,
      `--controller=${controller}`,
      `--token-file=${tokenDirectory}/token`,
      `--root-cert=${rootDirectory}/${rootFile}`,
      `--cluster-id=${clusterId}`,
      '--state-dir=/var/lib/weft/waypoint',
      '--log-format=json',
    ],
    ports: [
      { name: 'mesh', containerPort: hbonePort, protocol: 'TCP' },
      { name: 'http-metrics', containerPort: metricsPort, protocol: 'TCP' },
      { name: 'status', containerPort: readinessPort, protocol: 'TCP' },
    ],
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: { ...probe, periodSeconds: 5, failureThreshold: 3 },
    // Only whether it answers: a controller that is away is no reason to restart it.
    livenessProbe: {
      tcpSocket: { port: readinessPort },
      timeoutSeconds: 5,
      periodSeconds: 10,
      failureThreshold: 6,
    },
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '1Gi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      privileged: false,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'state', mountPath: '/var/lib/weft' },
      { name: 'roots', mountPath: rootDirectory, readOnly: true },
      { name: 'token', mountPath: tokenDirectory, readOnly: true },
    ],
  };
}

/** Labels of pods that an overlay may not take away. */
function selecting(manifest: Manifest, { gateway }: WaypointFacts): Manifest {
  const spec = manifest['spec'] as { template: { metadata?: { labels?: object }; spec?: object } };
  const { template } = spec;
  const labels = { ...template.metadata?.labels, ...podLabels(gateway) };
  return {
    ...manifest,
    spec: {
      ...spec,
      selector: { matchLabels: { [gatewayNameLabel]: gateway.metadata.name } },
      template: {
        ...template,
        metadata: { ...template.metadata, labels },
        spec: { ...template.spec, serviceAccountName: gateway.metadata.name },
      },
    },
  };
}

function podDisruptionBudget(facts: WaypointFacts): Manifest {
  const selector = { matchLabels: { [gatewayNameLabel]: facts.gateway.metadata.name } };
  return { ...bare(facts, 'policy/v1', 'PodDisruptionBudget'), spec: { maxUnavailable: 1, selector } };
}

function horizontalPodAutoscaler(facts: WaypointFacts, { min, max }: ReplicaRange): Manifest {
  const target = { type: 'Utilization', averageUtilization: targetCpuPercent };
  return {
    ...bare(facts, 'autoscaling/v2', 'HorizontalPodAutoscaler'),
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: facts.gateway.metadata.name },
      minReplicas: min,
      maxReplicas: max,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }],
    },
  };
}

interface ReplicaRange {
  readonly min: number;
  readonly max: number;
}

/** Annotations `weft.dev/min-replicas` and `weft.dev/max-replicas`; equal ones need no autoscaler. */
function replicaRange({ metadata }: GatewayObject, problems: string[]): ReplicaRange {
  const read = (key: string): number | undefined => {
    const text = metadata.annotations[key];
    if (text === undefined || /^[1-9]\d{0,2}$/.test(text))
      return text === undefined ? undefined : Number(text);
    problems.push(`Annotation ${key}: "${text}" is no number from 1 to 999`);
    return undefined;
  };
  const min = read('weft.dev/min-replicas') ?? defaultMinReplicas;
  const max = read('weft.dev/max-replicas') ?? Math.max(min, defaultMaxReplicas);
  if (max >= min) return { min, max };
  problems.push(`Annotation weft.dev/max-replicas: ${max} is less than the minimum of ${min}`);
  return { min, max: min };
}
