// Which Gateways are waypoints of this mesh, what they serve and who may use them. A Gateway of another class is
// nobody's business here; one of ours that cannot work is no waypoint, and what names it is refused (fail closed).

import type { Service, ServiceKey } from '../../mesh/model/service.ts';
import type { GatewayKey, WaypointConfig } from '../../mesh/model/routing.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { GatewayObject, LabelSelectorSpec } from '../resources/gateway-gateway.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { Resources } from '../resources/resources.ts';
import { selectsLabels } from './label-selectors.ts';
import { serviceHostname } from './services.ts';
import { emptyService, type ServiceDraft } from './service-draft.ts';
import type { Labels } from './selectors.ts';
import type { StatusCollector } from './statuses.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export const controllerName = 'weft.dev/controller';
export const waypointClassName = 'weft-waypoint';
/** On pods and the Service of a Gateway. */
export const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name';
export const hbonePort = 15_008;

export interface Waypoint {
  readonly key: GatewayKey;
  readonly object: GatewayObject;
  readonly servesFor: WaypointConfig['servesFor'];
  readonly hostname: string;
  /** Of the service that stands for it. */
  readonly service: ServiceKey;
  /** Whether objects of a namespace may name it. */
  readonly admits: (namespace: string, labels: Labels) => boolean;
  /** Pods that run it. */
  readonly pods: WorkloadDraft[];
}

export interface GatewaysContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
}

/** By key, sorted by it. */
export type Waypoints = ReadonlyMap<GatewayKey, Waypoint>;

export function gatewayKeyOf({ namespace, name }: ObjectMeta): GatewayKey {
  return `${namespace}/${name}` as GatewayKey;
}

/** Announces every Gateway of ours to the statuses. */
export function translateGateways(context: GatewaysContext): Map<GatewayKey, Waypoint> {
  const classes = waypointClasses(context);
  const waypoints = new Map<GatewayKey, Waypoint>();
  for (const object of context.resources.Gateway.values()) {
    if (!classes.has(object.spec.gatewayClassName)) continue;
    context.statuses.announce('Gateway', object.metadata);
    const waypoint = translateGateway(context, object);
    if (waypoint !== undefined) waypoints.set(waypoint.key, waypoint);
  }
  return waypoints;
}

/** The built-in name, unless somebody else's class has it, and every class that names this controller. */
function waypointClasses({ resources, statuses }: GatewaysContext): ReadonlySet<string> {
  const names = new Set([waypointClassName]);
  for (const { metadata, spec } of resources.GatewayClass.values()) {
    if (spec.controllerName !== controllerName) {
      names.delete(metadata.name);
      continue;
    }
    names.add(metadata.name);
    statuses.announce('GatewayClass', metadata);
    statuses.describe('GatewayClass', metadata, { supportedFeatures });
  }
  return names;
}

/** Names of the Gateway API's features (pkg/features) that its mesh conformance knows and this mesh has. */
const supportedFeatures: readonly string[] = [
  'GRPCRoute',
  'HTTPRoute',
  'Mesh',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
  'ReferenceGrant',
];

function translateGateway(context: GatewaysContext, object: GatewayObject): Waypoint | undefined {
  const { metadata, spec } = object;
  const { namespace, name } = metadata;
  const servesFor = translateServesFor(context, object);
  const listener = spec.listeners.find(({ protocol, port }) => protocol === 'HBONE' && port === hbonePort);
  const unserved = spec.listeners.filter((other) => other !== listener).map((other) => other.name);
  if (listener !== undefined && unserved.length > 0) {
    const message = `In force, but a waypoint serves HBONE on port ${hbonePort} only, not: ${unserved.join(', ')}`;
    context.statuses.remark('Gateway', metadata, { reason: 'ListenersNotValid', message });
  }
  if (listener === undefined) {
    const message = `A waypoint needs a listener of protocol HBONE on port ${hbonePort}`;
    const field = ['spec', 'listeners'];
    context.statuses.reject('Gateway', metadata, { reason: 'ListenersNotValid', message, field });
    return undefined;
  }
  if (!isServiceName(name)) {
    const message = `The waypoint's Service has the Gateway's name, and "${name}" is none of a Service`;
    context.statuses.reject('Gateway', metadata, { reason: 'Invalid', message, field: ['metadata', 'name'] });
    return undefined;
  }
  if (name === 'default') {
    const message =
      'The waypoint runs as the service account of its name, and every pod of a namespace may run as "default"';
    context.statuses.reject('Gateway', metadata, { reason: 'Invalid', message, field: ['metadata', 'name'] });
    return undefined;
  }
  const { from, selector } = listener.allowedRoutes.namespaces;
  const hostname = serviceHostname(namespace, name);
  return {
    key: `${namespace}/${name}` as GatewayKey,
    object,
    servesFor,
    hostname,
    service: `${namespace}/${hostname}` as ServiceKey,
    admits: (other, labels) =>
      other === namespace || admitsOthers({ from, selector, namespace: other, labels }),
    pods: [],
  };
}

function isServiceName(name: string): boolean {
  return name.length <= 63 && !name.includes('.');
}

function admitsOthers(options: {
  readonly from: string;
  readonly selector: LabelSelectorSpec | undefined;
  readonly namespace: string;
  readonly labels: Labels;
}): boolean {
  const { from, selector, namespace, labels } = options;
  if (from === 'All') return true;
  // The API server puts this label on every namespace.
  const all = { 'kubernetes.io/metadata.name': namespace, ...labels };
  return from === 'Selector' && selector !== undefined && selectsLabels(selector, all);
}

const servesForLabels = ['weft.dev/waypoint-for', 'istio.io/waypoint-for'];
const servesForValues = ['service', 'workload', 'all', 'none'] as const;

function translateServesFor(context: GatewaysContext, { metadata }: GatewayObject): Waypoint['servesFor'] {
  const label = servesForLabels.find((key) => Object.hasOwn(metadata.labels, key));
  if (label === undefined) return 'service';
  const value = metadata.labels[label];
  const known = servesForValues.find((candidate) => candidate === value);
  if (known !== undefined) return known;
  const message = `Label ${label}: "${value}" is none of ${servesForValues.join(', ')}; "service" is in force`;
  const field = ['metadata', 'labels', label];
  context.statuses.reject('Gateway', metadata, { reason: 'Invalid', message, field });
  return 'service';
}

/**
 * The waypoint a pod runs: by its label, and only if its service account is the waypoint's own, because that is the
 * identity which destinations trust.
 */
export function waypointOfPod(
  waypoints: Waypoints,
  pod: { readonly namespace: string; readonly labels: Labels; readonly serviceAccount: string },
): Waypoint | undefined {
  if (!Object.hasOwn(pod.labels, gatewayNameLabel)) return undefined;
  const name = pod.labels[gatewayNameLabel] as string;
  if (pod.serviceAccount !== name) return undefined;
  return waypoints.get(`${pod.namespace}/${name}` as GatewayKey);
}

/**
 * The services that stand for waypoints: their endpoints are the waypoints' pods, whatever a Service of that name
 * selects. In a cluster the controller makes such a Service; without one (standalone, or not yet) the model alone has it.
 * Returns those services and the other ones of `services`; a waypoint whose name an application's Service has is taken
 * out of `waypoints`.
 */
export function waypointServices(
  context: GatewaysContext & { readonly trustDomain: string },
  waypoints: Map<GatewayKey, Waypoint>,
  services: readonly ServiceDraft[],
): { readonly own: readonly ServiceDraft[]; readonly others: readonly ServiceDraft[] } {
  const own: ServiceDraft[] = [];
  const taken = new Set<ServiceDraft>();
  const byKey = new Map(services.map((draft) => [draft.service.key, draft]));
  for (const [key, waypoint] of waypoints) {
    const { metadata } = waypoint.object;
    const existing = byKey.get(waypoint.service);
    if (existing !== undefined && existing.metadata.labels[gatewayNameLabel] !== metadata.name) {
      const message = `Service ${metadata.namespace}/${metadata.name} is not the waypoint's own: it lacks the label ${gatewayNameLabel}: ${metadata.name}`;
      context.statuses.reject('Gateway', metadata, { reason: 'ServiceInUse', message });
      waypoints.delete(key);
      continue;
    }
    if (existing !== undefined) taken.add(existing);
    const draft = standIn(existing ?? bareService(waypoint), context.trustDomain);
    own.push(draft);
    for (const pod of waypoint.pods)
      pod.services.set(draft.service.key, [{ servicePort: hbonePort, targetPort: hbonePort }]);
  }
  return { own, others: services.filter((draft) => !taken.has(draft)) };
}

const port: Service['ports'][number] = {
  name: 'mesh',
  servicePort: hbonePort,
  targetPort: hbonePort,
  appProtocol: 'unknown',
};

function bareService({ object, hostname }: Waypoint): ServiceDraft {
  const { metadata } = object;
  const service = emptyService(metadata.namespace, metadata.name, hostname);
  return {
    kind: 'Service',
    metadata,
    service: { ...service, canonical: true },
    namedTargets: new Map(),
  };
}

/** Its identity counts also while a pod is on its way out and no longer known. */
function standIn(draft: ServiceDraft, trustDomain: string): ServiceDraft {
  const { namespace, name } = draft.metadata;
  const subjectAltNames = [formatSpiffeId({ trustDomain, namespace, serviceAccount: name })];
  return { ...draft, service: { ...draft.service, ports: [port], subjectAltNames }, namedTargets: new Map() };
}
