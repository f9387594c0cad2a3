// What a Gateway that is a waypoint is told: its addresses, its listeners, and whether anybody runs it.

import type { WaypointConfig } from '../../mesh/model/routing.ts';
import type { ListenerSpec } from '../resources/gateway-gateway.ts';
import { readExplainPolicy } from './explain-policy.ts';
import { gatewayKeyOf, hbonePort, type GatewaysContext, type Waypoint, type Waypoints } from './gateways.ts';
import type { ServiceDraft } from './service-draft.ts';
import { badCondition, type Condition, goodCondition, type GatewayDetails } from './statuses.ts';
import type { Bindings } from './waypoint-bindings.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface GatewayUse {
  /** Services that stand for waypoints. */
  readonly standIns: readonly ServiceDraft[];
  readonly bindings: Bindings;
  /** All workloads. */
  readonly byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>;
}

/** Also says what each waypoint is told about itself. */
export function finishGateways(
  context: GatewaysContext,
  waypoints: Waypoints,
  { standIns, bindings, byNamespace }: GatewayUse,
): readonly WaypointConfig[] {
  const services = new Map(standIns.map((draft) => [draft.service.key, draft]));
  for (const object of context.resources.Gateway.values()) {
    if (context.statuses.has('Gateway', object.metadata) && !waypoints.has(gatewayKeyOf(object.metadata)))
      context.statuses.describe('Gateway', object.metadata, { gateway: unusable(object.spec.listeners) });
  }
  return [...waypoints.values()].map((waypoint) => {
    const service = services.get(waypoint.service);
    const served = bindings.served.get(waypoint.key)?.length ?? 0;
    reportReadiness(context, waypoint, served);
    reportSharedIdentity(context, waypoint, byNamespace.get(waypoint.object.metadata.namespace) ?? []);
    context.statuses.describe('Gateway', waypoint.object.metadata, { gateway: details(waypoint, service) });
    return config(context, waypoint, service);
  });
}

/** Whoever has the waypoint's identity is trusted as the waypoint. */
function reportSharedIdentity(
  { statuses }: GatewaysContext,
  { object, pods }: Waypoint,
  workloads: readonly WorkloadDraft[],
): void {
  const { metadata } = object;
  const own = new Set(pods);
  const others = workloads.filter((draft) => draft.base.serviceAccount === metadata.name && !own.has(draft));
  const [first] = others;
  if (first === undefined) return;
  const more = others.length === 1 ? '' : ` and ${others.length - 1} more`;
  const message = `In force, but ${first.base.name}${more} of namespace ${metadata.namespace} is no pod of the waypoint, has its service account "${metadata.name}", and so is trusted as the waypoint`;
  statuses.remark('Gateway', metadata, { reason: 'ServiceAccountShared', message });
}

function config(
  { statuses }: GatewaysContext,
  { key, servesFor, object }: Waypoint,
  service: ServiceDraft | undefined,
): WaypointConfig {
  const explainPolicyTo = readExplainPolicy(object.metadata, statuses);
  return {
    gateway: key,
    servesFor,
    serviceAccount: object.metadata.name,
    addresses: (service?.service.addresses ?? []).map(({ address }) => address),
    forwardClientCert: object.metadata.annotations['weft.dev/forward-client-cert'] === 'true',
    ...(explainPolicyTo.length === 0 ? {} : { explainPolicyTo }),
  };
}

function reportReadiness({ statuses }: GatewaysContext, { object, pods }: Waypoint, served: number): void {
  if (pods.some(({ base }) => base.health === 'healthy')) return;
  const { name } = object.metadata;
  const why =
    pods.length === 0
      ? `No pod runs it (label gateway.networking.k8s.io/gateway-name: ${name}, service account ${name})`
      : 'None of its pods is ready';
  const message = `${why}: traffic of the ${served} services it serves is refused`;
  statuses.notProgrammed('Gateway', object.metadata, { reason: 'Pending', message });
}

function details({ object, hostname }: Waypoint, service: ServiceDraft | undefined): GatewayDetails {
  const addresses = (service?.service.addresses ?? []).map(({ address }) => ({
    type: 'IPAddress' as const,
    value: address as string,
  }));
  return {
    addresses: addresses.length > 0 ? addresses : [{ type: 'Hostname', value: hostname }],
    listeners: listenerDetails(object.spec.listeners, { usable: true }),
  };
}

function unusable(listeners: readonly ListenerSpec[]): GatewayDetails {
  return { addresses: [], listeners: listenerDetails(listeners, { usable: false }) };
}

function listenerDetails(
  listeners: readonly ListenerSpec[],
  { usable }: { readonly usable: boolean },
): GatewayDetails['listeners'] {
  return listeners.map((listener) => ({
    name: listener.name,
    attachedRoutes: 0,
    conditions: listenerConditions(listener, usable),
  }));
}

/** Routes attach to Services, never to a waypoint's listener. */
function listenerConditions({ protocol, port }: ListenerSpec, usable: boolean): readonly Condition[] {
  const served = protocol === 'HBONE' && port === hbonePort;
  const message = served
    ? 'The Gateway is no waypoint, as its own conditions say'
    : `A waypoint serves protocol HBONE on port ${hbonePort}, not ${protocol} on port ${port}`;
  return [
    served
      ? goodCondition('Accepted', 'Accepted', 'Serves tunnels of the mesh')
      : badCondition('Accepted', [{ reason: 'UnsupportedProtocol', message }]),
    goodCondition('Conflicted', 'NoConflicts', 'No other listener is in its way'),
    served && usable
      ? goodCondition('Programmed', 'Programmed', 'Part of the configuration that waypoints are sent')
      : badCondition('Programmed', [{ reason: 'Invalid', message }]),
    goodCondition('ResolvedRefs', 'ResolvedRefs', 'It refers to nothing'),
  ];
}
