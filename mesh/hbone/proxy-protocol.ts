// The PROXY protocol header, version 2 (haproxy.org, proxy-protocol.txt section 2.2): tells an application that stands in
// for others (a sandwiched waypoint, WIRE 1.7) who the client is and what it asked for. Encoding only.

import { type IpAddress, ipv4ToUint32, ipv6Groups, isIpv6 } from '../model/ip-address.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';

export interface ProxiedConnection {
  readonly source: { readonly address: IpAddress; readonly port: number };
  readonly destination: { readonly address: IpAddress; readonly port: number };
  /** The source's proven identity; undefined for none. */
  readonly identity: SpiffeId | undefined;
}

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
/** Version 2, command PROXY. */
const versionAndCommand = 0x21;
/** Family and protocol: STREAM over IPv4 or IPv6. */
const tcp4 = 0x11;
const tcp6 = 0x21;
/** TLV type of the source's identity, from the range for own use (section 2.2.7), as Istio has it. */
const identityType = 0xd0;

/** Where the two addresses are of different families, the IPv4 one is written as the mapped IPv6 address. */
export function proxyHeader({ source, destination, identity }: ProxiedConnection): Buffer {
  const v6 = isIpv6(source.address) || isIpv6(destination.address);
  const ports = Buffer.allocUnsafe(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const addresses = [source.address, destination.address].map((address) =>
    v6 ? ipv6Octets(address) : ipv4Octets(address),
  );
  const tlv = identity === undefined ? [] : [identityTlv(identity)];
  const rest = Buffer.concat([...addresses, ports, ...tlv]);
  const head = Buffer.from([versionAndCommand, v6 ? tcp6 : tcp4, rest.length >> 8, rest.length & 0xff]);
  return Buffer.concat([signature, head, rest]);
}

function identityTlv(identity: SpiffeId): Buffer {
  const value = Buffer.from(identity);
  return Buffer.concat([Buffer.from([identityType, value.length >> 8, value.length & 0xff]), value]);
}

function ipv4Octets(address: IpAddress): Buffer {
  const octets = Buffer.allocUnsafe(4);
  octets.writeUInt32BE(ipv4ToUint32(address));
  return octets;
}

function ipv6Octets(address: IpAddress): Buffer {
  if (!isIpv6(address))
    return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), ipv4Octets(address)]);
  const octets = Buffer.allocUnsafe(16);
  for (const [i, group] of ipv6Groups(address).entries()) octets.writeUInt16BE(group, 2 * i);
  return octets;
}
