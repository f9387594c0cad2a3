// Workload <-> istio.workload.Workload, by the rules of WIRE 3.3. Encoding is canonical: equal workloads give equal
// bytes, whatever the order of their service map.

import { create } from '@bufbuild/protobuf';
import { ipToBytes } from '../model/ip-address.ts';
import type { ServiceKey } from '../model/service.ts';
import type { PolicyKey, PortMapping, WaypointMissing, Workload, WorkloadUid } from '../model/workload.ts';
import { decodeEnum, decodeIp, decodePort, encodeEnum, reject, requireText } from './decode-field.ts';
import { encodeExtension, findExtension } from './extension.ts';
import {
  decodeGateway,
  decodeWaypointMissing,
  encodeGateway,
  encodeWaypointMissing,
} from './gateway-codec.ts';
import {
  AddressSchema,
  type PortList,
  PortListSchema,
  TunnelProtocol,
  WorkloadSchema,
  type Workload as WireWorkload,
} from './gen/istio/workload/workload_pb.ts';
import { WorkloadDetailsSchema } from './gen/weft/v1/weft_pb.ts';
import { type EncodedResource, encodeResource } from './resource.ts';

const tunnelProtocols = ['none', 'hbone'] as const;
const workloadTypes = ['deployment', 'cronjob', 'pod', 'job'] as const;
const healths = ['healthy', 'unhealthy'] as const;
const networkModes = ['standard', 'host-network'] as const;
const tunnelKinds = ['none', 'proxy'] as const;

/** An Address resource named by the uid. */
export function encodeWorkload(workload: Workload): EncodedResource {
  const message = create(AddressSchema, { type: { case: 'workload', value: workloadToWire(workload) } });
  // Host-network pods share the node's address, so it must not find any one of them.
  const aliases =
    workload.networkMode === 'host-network'
      ? []
      : workload.addresses.map((address) => `${workload.network}/${address}`);
  const groups = [...workload.services.keys()];
  return encodeResource(AddressSchema, message, { name: workload.uid, aliases, groups });
}

/** Canonical: equal workloads give equal messages. */
export function workloadToWire(workload: Workload): WireWorkload {
  const { waypoint, networkGateway, applicationTunnel, locality, waypointMissing } = workload;
  return create(WorkloadSchema, {
    name: workload.name,
    namespace: workload.namespace,
    addresses: workload.addresses.map(ipToBytes),
    network: workload.network,
    tunnelProtocol: encodeEnum(tunnelProtocols, workload.tunnelProtocol),
    trustDomain: workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    node: workload.node,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    workloadType: encodeEnum(workloadTypes, workload.workloadType),
    workloadName: workload.workloadName,
    authorizationPolicies: [...workload.authorizationPolicies],
    status: encodeEnum(healths, workload.health),
    clusterId: workload.clusterId,
    uid: workload.uid,
    hostname: workload.hostname,
    services: encodeServices(workload.services),
    networkMode: encodeEnum(networkModes, workload.networkMode),
    ...(locality.region || locality.zone || locality.subzone ? { locality } : {}),
    ...(workload.capacity === 1 ? {} : { capacity: workload.capacity }),
    ...(waypoint && { waypoint: encodeGateway(waypoint) }),
    ...(networkGateway && { networkGateway: encodeGateway(networkGateway) }),
    ...(applicationTunnel && {
      applicationTunnel: {
        protocol: encodeEnum(tunnelKinds, applicationTunnel.protocol),
        port: applicationTunnel.port,
      },
    }),
    ...(waypointMissing && { extensions: [encodeDetails(waypointMissing)] }),
  });
}

function encodeDetails(waypointMissing: WaypointMissing) {
  const details = create(WorkloadDetailsSchema, { waypointMissing: encodeWaypointMissing(waypointMissing) });
  return encodeExtension(WorkloadDetailsSchema, details);
}

function encodeServices(services: Workload['services']): Record<string, PortList> {
  const sorted = [...services].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    sorted.map(([key, ports]) => [
      key,
      create(PortListSchema, {
        ports: ports.map(({ servicePort, targetPort }) => ({ servicePort, targetPort })),
      }),
    ]),
  );
}

/** Throws FieldRejected; call it inside decode(). */
export function workloadFromWire(wire: WireWorkload): Workload {
  if (wire.tunnelProtocol === TunnelProtocol.LEGACY_ISTIO_MTLS) {
    reject('tunnel_protocol', 'is LEGACY_ISTIO_MTLS, which is not supported');
  }
  return {
    uid: requireText(wire.uid, 'uid') as WorkloadUid,
    name: wire.name,
    namespace: wire.namespace,
    network: wire.network,
    addresses: wire.addresses.map((bytes, i) => decodeIp(bytes, `addresses[${i}]`)),
    hostname: wire.hostname,
    trustDomain: wire.trustDomain || 'cluster.local',
    serviceAccount: wire.serviceAccount || 'default',
    tunnelProtocol: decodeEnum(tunnelProtocols, wire.tunnelProtocol, 'tunnel_protocol'),
    node: wire.node,
    canonicalName: wire.canonicalName,
    canonicalRevision: wire.canonicalRevision,
    // Only a metric label: a type that is new to us is no reason to refuse the workload.
    workloadType: workloadTypes[wire.workloadType] ?? 'deployment',
    workloadName: wire.workloadName,
    clusterId: wire.clusterId || 'Kubernetes',
    health: decodeEnum(healths, wire.status, 'status'),
    networkMode: decodeEnum(networkModes, wire.networkMode, 'network_mode'),
    capacity: wire.capacity ?? 1,
    locality: {
      region: wire.locality?.region ?? '',
      zone: wire.locality?.zone ?? '',
      subzone: wire.locality?.subzone ?? '',
    },
    services: decodeServices(wire.services),
    authorizationPolicies: wire.authorizationPolicies as PolicyKey[],
    ...optionalParts(wire),
  };
}

function optionalParts(wire: WireWorkload): Partial<Workload> {
  const { waypoint, networkGateway, applicationTunnel: tunnel } = wire;
  return {
    ...(waypoint && { waypoint: decodeGateway(waypoint, 'waypoint') }),
    ...(networkGateway && { networkGateway: decodeGateway(networkGateway, 'network_gateway') }),
    ...decodeWaypointMissing(findExtension(wire.extensions, WorkloadDetailsSchema)?.waypointMissing),
    ...(tunnel && {
      applicationTunnel: {
        protocol: decodeEnum(tunnelKinds, tunnel.protocol, 'application_tunnel.protocol'),
        port: decodePort(tunnel.port, 'application_tunnel.port'),
      },
    }),
  };
}

function decodeServices(services: Record<string, PortList>): Map<ServiceKey, readonly PortMapping[]> {
  const decoded = new Map<ServiceKey, readonly PortMapping[]>();
  for (const [key, { ports }] of Object.entries(services)) {
    const field = `services["${key}"]`;
    if (!/^[^/]*\/[^/]+$/.test(key)) reject(field, 'must be "namespace/hostname"');
    decoded.set(
      key as ServiceKey,
      ports.map(({ servicePort, targetPort }, i) => ({
        servicePort: decodePort(servicePort, `${field}.ports[${i}].service_port`),
        targetPort: decodePort(targetPort, `${field}.ports[${i}].target_port`),
      })),
    );
  }
  return decoded;
}
