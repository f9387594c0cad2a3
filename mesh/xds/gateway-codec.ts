// istio.workload.GatewayAddress: where a waypoint or network gateway listens, and what is done while none is ready.

import { create } from '@bufbuild/protobuf';
import { ipToBytes } from '../model/ip-address.ts';
import type { GatewayAddress, WaypointMissing } from '../model/workload.ts';
import { decodeEnum, decodeIp, decodePort, encodeEnum, reject, requireText } from './decode-field.ts';
import {
  GatewayAddressSchema,
  type GatewayAddress as WireGateway,
} from './gen/istio/workload/workload_pb.ts';

export function encodeGateway({ destination, hboneMtlsPort }: GatewayAddress): WireGateway {
  if (destination.kind === 'hostname') {
    const { namespace, hostname } = destination;
    const value = { namespace, hostname };
    return create(GatewayAddressSchema, { destination: { case: 'hostname', value }, hboneMtlsPort });
  }
  const value = { network: destination.network, address: ipToBytes(destination.address) };
  return create(GatewayAddressSchema, { destination: { case: 'address', value }, hboneMtlsPort });
}

/** A gateway without a destination, or an absent one where one is needed, is refused (WIRE 3.3). */
export function decodeGateway(gateway: WireGateway | undefined, field: string): GatewayAddress {
  const destination = gateway?.destination;
  if (gateway === undefined || destination?.case === undefined) {
    return reject(field, 'has neither a hostname nor an address');
  }
  const hboneMtlsPort = decodePort(gateway.hboneMtlsPort, `${field}.hbone_mtls_port`);
  if (destination.case === 'hostname') {
    const { namespace, hostname } = destination.value;
    requireText(hostname, `${field}.hostname.hostname`);
    return { destination: { kind: 'hostname', namespace, hostname }, hboneMtlsPort };
  }
  const address = decodeIp(destination.value.address, `${field}.address.address`);
  return { destination: { kind: 'address', network: destination.value.network, address }, hboneMtlsPort };
}

// Position 0 is the unset value: the built-in default applies.
const waypointMissing = [undefined, 'refuse', 'l4-only'] as const;

export function encodeWaypointMissing(value: WaypointMissing) {
  return encodeEnum(waypointMissing, value);
}

/** Nothing for the unset value. */
export function decodeWaypointMissing(wire: number | undefined): { waypointMissing?: WaypointMissing } {
  if (wire === undefined || wire === 0) return {};
  return { waypointMissing: decodeEnum(waypointMissing, wire, 'waypoint_missing') };
}
