// What a route's parentRefs name: services, and their ports that the route concerns. References to parents that are
// none of this mesh's are nobody's business here, and get no status.

import type { ServicePort } from '../../mesh/model/service.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ParentReference } from '../resources/gateway-fields.ts';
import { gatewayGroup, type RouteKindName } from '../resources/gateway-kinds.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { FieldPath } from '../source/problem.ts';
import type { Waypoints } from './gateways.ts';
import { serviceKindOf, type ServicesByObject } from './route-backends.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection } from './statuses.ts';

export interface RouteParent {
  readonly ref: ParentReference;
  readonly at: FieldPath;
  /** Services it names; several for a ServiceEntry of several hosts. Empty with an objection. */
  readonly services: readonly { readonly draft: ServiceDraft; readonly ports: readonly number[] }[];
  readonly objection: Objection | undefined;
}

export interface ParentsContext {
  readonly services: ServicesByObject;
  readonly waypoints: Waypoints;
}

/** Those of this mesh, each reference once. */
export function routeParents(
  context: ParentsContext,
  kind: RouteKindName,
  { metadata, refs }: { readonly metadata: ObjectMeta; readonly refs: readonly ParentReference[] },
): readonly RouteParent[] {
  const seen = new Set<string>();
  return refs.flatMap((ref, index) => {
    const { group = gatewayGroup, kind: of = 'Gateway', namespace = metadata.namespace, name } = ref;
    const text = JSON.stringify([group, of, namespace, name, ref.sectionName, ref.port]);
    if (seen.has(text)) return [];
    seen.add(text);
    const at = ['spec', 'parentRefs', index];
    if (group === gatewayGroup && of === 'Gateway')
      return context.waypoints.has(`${namespace}/${name}` as GatewayKey) ? [waypointParent(ref, at)] : [];
    const serviceKind = serviceKindOf(group, of);
    if (serviceKind === undefined) return [];
    return [serviceParent(context, kind, { ref, at, serviceKind, namespace })];
  });
}

function waypointParent(ref: ParentReference, at: FieldPath): RouteParent {
  const message =
    'A waypoint takes no routes of its own: name the Service as parent, whose waypoint then serves the route';
  return { ref, at, services: [], objection: { reason: 'NotAllowedByListeners', message, field: at } };
}

function serviceParent(
  { services }: ParentsContext,
  kind: RouteKindName,
  options: {
    readonly ref: ParentReference;
    readonly at: FieldPath;
    readonly serviceKind: ServiceDraft['kind'];
    readonly namespace: string;
  },
): RouteParent {
  const { ref, at, serviceKind, namespace } = options;
  const drafts = services.get(`${serviceKind}/${namespace}/${ref.name}`) ?? [];
  const found = drafts.map((draft) => ({ draft, ports: concernedPorts(kind, ref, draft.service.ports) }));
  const usable = found.filter(({ ports }) => ports.length > 0);
  if (usable.length > 0) return { ref, at, services: usable, objection: undefined };
  const text = `${serviceKind} ${namespace}/${ref.name}`;
  const message = drafts.length === 0 ? `${text} does not exist` : `${text} has ${noPort(kind, ref)}`;
  return { ref, at, services: [], objection: { reason: 'NoMatchingParent', message, field: at } };
}

function noPort(kind: RouteKindName, { port, sectionName }: ParentReference): string {
  if (port !== undefined && sectionName !== undefined)
    return `no port ${port} with the name "${sectionName}"`;
  if (port !== undefined) return `no port ${port}`;
  if (sectionName !== undefined) return `no port with the name "${sectionName}"`;
  return `no port of a protocol that a ${kind} is for (appProtocol)`;
}

const protocols: Readonly<Record<RouteKindName, readonly ServicePort['appProtocol'][]>> = {
  HTTPRoute: ['unknown', 'http11', 'http2', 'grpc'],
  GRPCRoute: ['unknown', 'http2', 'grpc', 'http11'],
  TCPRoute: ['unknown', 'tcp', 'tls'],
  TLSRoute: ['unknown', 'tls', 'tcp'],
};

/** By number, by name (GEP-1426), or all that speak what the route is for. */
function concernedPorts(
  kind: RouteKindName,
  { port, sectionName }: ParentReference,
  ports: readonly ServicePort[],
): readonly number[] {
  const named = port !== undefined || sectionName !== undefined;
  return ports
    .filter((candidate) => port === undefined || candidate.servicePort === port)
    .filter((candidate) => sectionName === undefined || candidate.name === sectionName)
    .filter(({ appProtocol }) => named || protocols[kind].includes(appProtocol))
    .map(({ servicePort }) => servicePort);
}
