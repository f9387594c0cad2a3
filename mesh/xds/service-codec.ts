// Service <-> istio.workload.Service, by the rules of WIRE 3.3. Port names and the traffic policy travel in a
// weft.v1.ServiceDetails extension, present only when there is something to say.

import { create } from '@bufbuild/protobuf';
import { cidrFromBytes, ipBits, ipToBytes } from '../model/ip-address.ts';
import { serviceKey } from '../model/key.ts';
import type { LoadBalancing, Service, ServicePort, VirtualAddress } from '../model/service.ts';
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
  type LoadBalancing as WireLoadBalancing,
  type NetworkAddress,
  ServiceSchema,
  type Service as WireService,
} from './gen/istio/workload/workload_pb.ts';
import { type ServiceDetails, ServiceDetailsSchema } from './gen/weft/v1/weft_pb.ts';
import { type EncodedResource, encodeResource } from './resource.ts';
import { decodeTrafficPolicy, encodeTrafficPolicy } from './traffic-policy-codec.ts';

const appProtocols = ['unknown', 'http11', 'http2', 'grpc', 'tcp', 'tls'] as const;
const ipFamilies = ['automatic', 'ipv4-only', 'ipv6-only', 'dual'] as const;
const visibilities = ['public', 'namespace'] as const;
const modes = ['unspecified', 'strict', 'failover', 'passthrough'] as const;
const healthPolicies = ['only-healthy', 'allow-all'] as const;
// 0 is UNSPECIFIED, which is refused like any number without a name.
const scopes = [undefined, 'region', 'zone', 'subzone', 'node', 'cluster', 'network'] as const;

/** An Address resource named `namespace/hostname`. */
export function encodeService(service: Service): EncodedResource {
  const message = create(AddressSchema, { type: { case: 'service', value: toWire(service) } });
  const aliases = service.addresses
    .filter(({ address, length }) => length === ipBits(address))
    .map(({ network, address }) => `${network}/${address}`);
  return encodeResource(AddressSchema, message, { name: service.key, aliases });
}

function toWire(service: Service): WireService {
  const { waypoint, loadBalancing } = service;
  const details = serviceDetails(service);
  return create(ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: service.addresses.map(encodeAddress),
    ports: service.ports.map(({ servicePort, targetPort, appProtocol }) => ({
      servicePort,
      targetPort,
      appProtocol: encodeEnum(appProtocols, appProtocol),
    })),
    subjectAltNames: [...service.subjectAltNames],
    ipFamilies: encodeEnum(ipFamilies, service.ipFamilies),
    canonical: service.canonical,
    visibility: encodeEnum(visibilities, service.visibility),
    weightedWaypoints: service.weightedWaypoints.map(({ destination, weight }) => ({
      destination: encodeGateway(destination),
      weight,
    })),
    loadBalancing: {
      routingPreference: loadBalancing.routingPreference.map((scope) => encodeEnum(scopes, scope)),
      mode: encodeEnum(modes, loadBalancing.mode),
      healthPolicy: encodeEnum(healthPolicies, loadBalancing.healthPolicy),
    },
    ...(waypoint && { waypoint: encodeGateway(waypoint) }),
    ...(details && { extensions: [encodeExtension(ServiceDetailsSchema, details)] }),
  });
}

function serviceDetails({ ports, trafficPolicy, waypointMissing }: Service): ServiceDetails | undefined {
  const named = ports.some(({ name }) => name !== '');
  if (!named && trafficPolicy === undefined && waypointMissing === undefined) return undefined;
  return create(ServiceDetailsSchema, {
    portNames: named ? ports.map(({ name }) => name) : [],
    ...(trafficPolicy && { trafficPolicy: encodeTrafficPolicy(trafficPolicy) }),
    ...(waypointMissing && { waypointMissing: encodeWaypointMissing(waypointMissing) }),
  });
}

function encodeAddress({ network, address, length }: VirtualAddress) {
  const single = length === ipBits(address);
  return { network, address: ipToBytes(address), ...(single ? {} : { length }) };
}

/** Throws FieldRejected; call it inside decode(). */
export function serviceFromWire(wire: WireService): Service {
  const hostname = requireText(wire.hostname, 'hostname');
  const details = findExtension(wire.extensions, ServiceDetailsSchema);
  return {
    key: serviceKey(wire.namespace, hostname),
    name: wire.name,
    namespace: wire.namespace,
    hostname,
    addresses: wire.addresses.map((address, i) => decodeAddress(address, `addresses[${i}]`)),
    ports: decodePorts(wire, details?.portNames ?? []),
    subjectAltNames: wire.subjectAltNames,
    weightedWaypoints: wire.weightedWaypoints.map(({ destination, weight }, i) => ({
      destination: decodeGateway(destination, `weighted_waypoints[${i}].destination`),
      weight,
    })),
    loadBalancing: decodeLoadBalancing(wire.loadBalancing),
    ipFamilies: decodeEnum(ipFamilies, wire.ipFamilies, 'ip_families'),
    canonical: wire.canonical,
    visibility: visibilities[wire.visibility] ?? 'public',
    ...(wire.waypoint && { waypoint: decodeGateway(wire.waypoint, 'waypoint') }),
    ...(details?.trafficPolicy && {
      trafficPolicy: decodeTrafficPolicy(details.trafficPolicy, 'traffic_policy'),
    }),
    ...decodeWaypointMissing(details?.waypointMissing),
  };
}

function decodePorts(wire: WireService, names: readonly string[]): ServicePort[] {
  if (names.length !== 0 && names.length !== wire.ports.length) {
    reject('port_names', `has ${names.length} names for ${wire.ports.length} ports`);
  }
  return wire.ports.map(({ servicePort, targetPort, appProtocol }, i) => ({
    name: names[i] ?? '',
    servicePort: decodePort(servicePort, `ports[${i}].service_port`),
    targetPort: decodePort(targetPort, `ports[${i}].target_port`),
    // Not used at L4: a protocol that is new to us is no reason to refuse the service.
    appProtocol: appProtocols[appProtocol] ?? 'unknown',
  }));
}

function decodeAddress({ network, address: bytes, length }: NetworkAddress, field: string): VirtualAddress {
  const address = decodeIp(bytes, `${field}.address`);
  if (length === undefined) return { network, address, length: ipBits(address) };
  const cidr = cidrFromBytes(bytes, length);
  return cidr
    ? { network, ...cidr }
    : reject(`${field}.length`, `is no prefix length of "${address}": ${length}`);
}

function decodeLoadBalancing(wire: WireLoadBalancing | undefined): LoadBalancing {
  return {
    mode: decodeEnum(modes, wire?.mode ?? 0, 'load_balancing.mode'),
    routingPreference: (wire?.routingPreference ?? []).map((scope, i) =>
      decodeEnum(scopes, scope, `load_balancing.routing_preference[${i}]`),
    ),
    healthPolicy: decodeEnum(healthPolicies, wire?.healthPolicy ?? 0, 'load_balancing.health_policy'),
  };
}
