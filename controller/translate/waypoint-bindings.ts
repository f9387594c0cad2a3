// Which waypoint stands in front of each service and workload, by labels: a Service's own, a pod's own, then the
// namespace's. A workload without a waypoint of its own gets that of a service it is behind, so that nobody goes around
// the waypoint by dialling the pod. A label that leads to no usable waypoint binds to one that does not exist: traffic
// is then refused, unless `weft.dev/waypoint-missing: l4-only` says otherwise.

import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { GatewayAddress, WaypointMissing } from '../../mesh/model/workload.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { KindName, Resources } from '../resources/resources.ts';
import { hbonePort, type Waypoint, type Waypoints } from './gateways.ts';
import { compareText } from './precedence.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection, StatusCollector } from './statuses.ts';
import { type WaypointLabel, waypointLabel, waypointMissingLabel } from './waypoint-labels.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface BindingsContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly waypoints: Waypoints;
}

export interface Bindings {
  /** Services by the waypoint that serves them; only usable waypoints. */
  readonly served: ReadonlyMap<GatewayKey, readonly ServiceDraft[]>;
}

/** Sets `waypoint` and `waypointMissing` of the drafts. */
export function bindWaypoints(
  context: BindingsContext,
  { services, workloads }: { services: readonly ServiceDraft[]; workloads: readonly WorkloadDraft[] },
): Bindings {
  const namespaces = namespaceLabels(context);
  const reported = new Set<ObjectMeta>();
  const served = new Map<GatewayKey, ServiceDraft[]>();
  const bound = new Map<ServiceKey, ServiceDraft>();
  const standIns = new Set([...context.waypoints.values()].map(({ service }) => service));
  for (const draft of services) {
    if (standIns.has(draft.service.key)) continue;
    const found = bindService(context, { draft, namespaces, reported });
    if (found === undefined) continue;
    bound.set(draft.service.key, draft);
    if (found.waypoint === undefined) continue;
    const others = served.get(found.waypoint.key);
    if (others === undefined) served.set(found.waypoint.key, [draft]);
    else others.push(draft);
  }
  const own = new Set([...context.waypoints.values()].flatMap(({ pods }) => pods));
  for (const draft of workloads) {
    if (!own.has(draft)) bindWorkload(context, { draft, namespaces, bound });
  }
  return { served };
}

interface Written {
  readonly kind: KindName;
  readonly metadata: ObjectMeta;
  readonly label: WaypointLabel | undefined;
  readonly missing: WaypointMissing | undefined;
}

/** Namespaces that say something about waypoints; most do not. */
function namespaceLabels(context: BindingsContext): ReadonlyMap<string, Written> {
  const written = new Map<string, Written>();
  for (const { metadata } of context.resources.Namespace.values()) {
    const read = readLabels(context, 'Namespace', metadata, metadata.name);
    if (read.label !== undefined || read.missing !== undefined) written.set(metadata.name, read);
  }
  return written;
}

function readLabels(
  context: BindingsContext,
  kind: KindName,
  metadata: ObjectMeta,
  namespace: string,
): Written {
  const missing = waypointMissingLabel(metadata.labels);
  if (typeof missing === 'object') {
    const message = `Label ${missing.label}: "${missing.unknown}" is neither "refuse" nor "l4-only"; "refuse" is in force`;
    const field = ['metadata', 'labels', missing.label];
    context.statuses.reject(kind, metadata, { reason: 'UnknownWaypointMissing', message, field });
  }
  return {
    kind,
    metadata,
    label: waypointLabel(metadata.labels, namespace),
    missing: typeof missing === 'object' ? 'refuse' : missing,
  };
}

interface Found {
  /** Undefined: the label leads to none that can be used. */
  readonly waypoint: Waypoint | undefined;
  readonly address: GatewayAddress;
}

function bindService(
  context: BindingsContext,
  options: {
    readonly draft: ServiceDraft;
    readonly namespaces: ReadonlyMap<string, Written>;
    readonly reported: Set<ObjectMeta>;
  },
): Found | undefined {
  const { draft, namespaces, reported } = options;
  const { kind, metadata } = draft;
  const own = readLabels(context, kind, metadata, metadata.namespace);
  const outer = namespaces.get(metadata.namespace);
  const written = own.label === undefined ? outer : own;
  if (written?.label === undefined || written.label.kind === 'none') return undefined;
  const found = findWaypoint(context, written.label, metadata.namespace);
  const first = !reported.has(written.metadata);
  reported.add(written.metadata);
  if ('objection' in found && first) unresolved(context, written, found.objection);
  if ('waypoint' in found && !serves(found.waypoint, 'service')) {
    // A namespace's label may be meant for its workloads.
    if (written === own) remarkIdle(context, written, found.waypoint);
    return undefined;
  }
  draft.waypoint = found.address;
  const missing = own.missing ?? outer?.missing;
  if (missing === 'l4-only') draft.waypointMissing = missing;
  return { waypoint: 'waypoint' in found ? found.waypoint : undefined, address: found.address };
}

function serves({ servesFor }: Waypoint, what: 'service' | 'workload'): boolean {
  return servesFor === what || servesFor === 'all';
}

function bindWorkload(
  context: BindingsContext,
  options: {
    readonly draft: WorkloadDraft;
    readonly namespaces: ReadonlyMap<string, Written>;
    readonly bound: ReadonlyMap<ServiceKey, ServiceDraft>;
  },
): void {
  const { draft, namespaces, bound } = options;
  const { namespace, networkMode, uid } = draft.base;
  // Its address is that of the node: nobody can be told from it.
  if (networkMode === 'host-network') return;
  const kind = uid.includes('//Pod/') ? 'Pod' : uid.includes('/WorkloadEntry/') ? 'WorkloadEntry' : undefined;
  const own = kind === undefined ? undefined : readLabels(context, kind, draft.metadata, namespace);
  if (own?.label?.kind === 'none') return;
  const outer = namespaces.get(namespace);
  const address = labelledWaypoint(context, { own, outer, namespace });
  const behind = address === undefined ? firstService(draft, bound) : undefined;
  const waypoint = address ?? behind?.waypoint;
  if (waypoint === undefined) return;
  draft.waypoint = waypoint;
  const missing =
    own?.missing ?? behind?.waypointMissing ?? (behind === undefined ? outer?.missing : undefined);
  if (missing === 'l4-only') draft.waypointMissing = missing;
}

/** By the pod's own label, or by that of its namespace if that waypoint is one for workloads. */
function labelledWaypoint(
  context: BindingsContext,
  { own, outer, namespace }: { own: Written | undefined; outer: Written | undefined; namespace: string },
): GatewayAddress | undefined {
  if (own?.label?.kind === 'named') {
    const found = findWaypoint(context, own.label, namespace);
    if ('objection' in found) unresolved(context, own, found.objection);
    else if (!serves(found.waypoint, 'workload')) {
      remarkIdle(context, own, found.waypoint);
      return undefined;
    }
    return found.address;
  }
  if (outer?.label?.kind !== 'named') return undefined;
  const found = findWaypoint(context, outer.label, namespace);
  return 'waypoint' in found && serves(found.waypoint, 'workload') ? found.address : undefined;
}

/** Of several services with waypoints the first by key: a workload has one waypoint. */
function firstService(
  { services }: WorkloadDraft,
  bound: ReadonlyMap<ServiceKey, ServiceDraft>,
): ServiceDraft | undefined {
  if (bound.size === 0) return undefined;
  let first: ServiceDraft | undefined;
  for (const key of services.keys()) {
    const draft = bound.get(key);
    if (draft === undefined) continue;
    if (first === undefined || compareText(draft.service.key, first.service.key) < 0) first = draft;
  }
  return first;
}

function findWaypoint(
  context: BindingsContext,
  label: Extract<WaypointLabel, { kind: 'named' }>,
  namespace: string,
):
  | { readonly waypoint: Waypoint; readonly address: GatewayAddress }
  | { readonly objection: Objection; readonly address: GatewayAddress } {
  const { waypoints, resources } = context;
  const key = `${label.namespace}/${label.name}` as GatewayKey;
  const waypoint = waypoints.get(key);
  const field = ['metadata', 'labels', label.label];
  if (waypoint === undefined) {
    const message = `Gateway ${key} ${whyNoWaypoint(context, key)}: traffic is refused until it is a waypoint`;
    return { objection: { reason: 'WaypointNotFound', message, field }, address: nowhere(label) };
  }
  const labels = resources.Namespace.get(namespace)?.metadata.labels ?? {};
  if (!waypoint.admits(namespace, labels)) {
    const message = `Waypoint ${key} does not admit namespace ${namespace} (allowedRoutes of its listener): traffic is refused`;
    return { objection: { reason: 'WaypointNotAllowed', message, field }, address: nowhere(label) };
  }
  const destination = { kind: 'hostname', namespace: label.namespace, hostname: waypoint.hostname } as const;
  return { waypoint, address: { destination, hboneMtlsPort: hbonePort } };
}

function whyNoWaypoint({ resources, statuses }: BindingsContext, key: GatewayKey): string {
  const gateway = resources.Gateway.get(key);
  if (gateway === undefined) return 'does not exist';
  if (statuses.has('Gateway', gateway.metadata)) return 'cannot be used, see its status';
  return `is of class "${gateway.spec.gatewayClassName}", which is none of this mesh`;
}

/**
 * A name that no service has (RFC 6761 section 6.4). That of an application's Service would make the application's
 * identity one that is trusted as a waypoint's.
 */
function nowhere({ namespace, name }: { namespace: string; name: string }): GatewayAddress {
  const hostname = `${name}.${namespace}.waypoint.invalid`;
  return { destination: { kind: 'hostname', namespace, hostname }, hboneMtlsPort: hbonePort };
}

function unresolved({ statuses }: BindingsContext, { kind, metadata }: Written, objection: Objection): void {
  statuses.unresolved(kind, metadata, objection);
}

function remarkIdle(
  { statuses }: BindingsContext,
  { kind, metadata }: Written,
  { key, servesFor }: Waypoint,
): void {
  const message = `In force, but waypoint ${key} serves "${servesFor}" only (label weft.dev/waypoint-for), so it is not used for this`;
  statuses.remark(kind, metadata, { reason: 'WaypointServesOthers', message });
}
