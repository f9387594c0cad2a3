// Bytes of the map keys and values, mirroring layout.h: addresses are 16 bytes in network order (IPv4 mapped), ports
// and numbers little-endian host order (x86-64, arm64). Pure; every decoder accepts exactly what its encoder writes.

import { type IpAddress, ipFromBytes, ipToBytes, isIpv6 } from '../mesh/model/ip-address.ts';
import { BpfError } from './bpf-error.ts';

/** Part of the pin path: programs of another layout never share maps with these. */
export const layoutVersion = 1;

export const socketStateSize = 20;
export const podKeySize = 8;
export const podSize = 512;
export const inboundConfigSize = 152;
export const maxOwnAddresses = 8;
/** Listeners of a kind. */
export const listenerSlots = 16;
/** `enum listener_kind`, in its order. */
export const listenerKinds = ['hbone', 'plaintext', 'outbound', 'dns'] as const;
export type ListenerKind = (typeof listenerKinds)[number];
const maxUidBytes = 468;

export const socketKind = {
  exempt: 1,
  lastHop: 2,
  captured: 3,
  accepted: 4,
  disguised: 5,
  dnsAsked: 6,
  direct: 7,
  probe: 8,
} as const;

const POD_HAS_IPV4 = 1;
const POD_HAS_IPV6 = 2;
const POD_CAPTURES_DNS = 4;

export interface AddressPort {
  readonly address: IpAddress;
  /** 0 to 65535. */
  readonly port: number;
}

/** Writes 16 bytes at `offset`. */
export function writeAddress(out: Buffer, offset: number, address: IpAddress): void {
  const bytes = ipToBytes(address);
  if (bytes.length === 16) {
    out.set(bytes, offset);
    return;
  }
  out.fill(0, offset, offset + 10);
  out.fill(0xff, offset + 10, offset + 12);
  out.set(bytes, offset + 12);
}

/** A mapped address comes back as IPv4. */
export function readAddress(bytes: Buffer, offset: number): IpAddress {
  return ipFromBytes(bytes.subarray(offset, offset + 16));
}

/** `struct socket_state` with a peer. */
export function writeSocketState(out: Buffer, kind: number, peer: AddressPort): void {
  writeAddress(out, 0, peer.address);
  out.writeUInt16LE(peer.port, 16);
  out.writeUInt8(kind, 18);
  out.writeUInt8(0, 19);
}

export interface PodEntry {
  readonly uid: string;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  /** 0: of a pod that was let go; nothing of it is led anywhere. */
  readonly outboundPort: number;
  readonly dnsPort?: number;
}

/** `struct pod`. @throws BpfError invalid-capture */
export function encodePod(pod: PodEntry): Buffer {
  const out = Buffer.alloc(podSize);
  const uid = Buffer.from(pod.uid, 'utf8');
  if (uid.length === 0 || uid.length > maxUidBytes) {
    throw new BpfError(
      'invalid-capture',
      `Pod "${pod.uid}" can not be captured: its uid has ${uid.length} bytes, 1 to ${maxUidBytes} are possible`,
    );
  }
  let flags = 0;
  if (pod.ipv4 !== undefined) {
    writeAddress(out, 0, pod.ipv4);
    flags |= POD_HAS_IPV4;
  }
  if (pod.ipv6 !== undefined) {
    writeAddress(out, 16, pod.ipv6);
    flags |= POD_HAS_IPV6;
  }
  if (pod.dnsPort !== undefined && pod.outboundPort !== 0) flags |= POD_CAPTURES_DNS;
  out.writeUInt32LE(flags, 32);
  out.writeUInt16LE(pod.outboundPort, 36);
  out.writeUInt16LE(pod.dnsPort ?? 0, 38);
  out.writeUInt32LE(uid.length, 40);
  out.set(uid, 44);
  return out;
}

export function decodePod(bytes: Buffer): PodEntry {
  const flags = bytes.readUInt32LE(32);
  const uidLength = Math.min(bytes.readUInt32LE(40), maxUidBytes);
  return {
    uid: bytes.toString('utf8', 44, 44 + uidLength),
    ...(flags & POD_HAS_IPV4 ? { ipv4: readAddress(bytes, 0) } : {}),
    ...(flags & POD_HAS_IPV6 ? { ipv6: readAddress(bytes, 16) } : {}),
    outboundPort: bytes.readUInt16LE(36),
    ...(flags & POD_CAPTURES_DNS ? { dnsPort: bytes.readUInt16LE(38) } : {}),
  };
}

export interface InboundConfig {
  /** At most 8. */
  readonly ownAddresses: readonly IpAddress[];
  readonly hbonePort: number;
  readonly outboundPort: number;
  readonly dnsPort?: number;
  /** How many there are of each kind, at most 16. */
  readonly listenerCounts: Readonly<Record<ListenerKind, number>>;
  /** Cookie of the pod's namespace; absent: no connection is let through to it without the proxy. */
  readonly netnsCookie?: bigint;
}

/** `struct inbound_config`. */
export function encodeInboundConfig(config: InboundConfig): Buffer {
  const out = Buffer.alloc(inboundConfigSize);
  for (const [i, address] of config.ownAddresses.entries()) writeAddress(out, 16 * i, address);
  out.writeUInt16LE(config.hbonePort, 128);
  out.writeUInt16LE(config.dnsPort ?? 0, 130);
  out.writeUInt16LE(config.outboundPort, 132);
  out.writeBigUInt64LE(config.netnsCookie ?? 0n, 136);
  for (const [i, kind] of listenerKinds.entries()) out.writeUInt8(config.listenerCounts[kind], 144 + i);
  return out;
}

/** The first address of each family: the one outbound connections of that family are redirected to. */
export function firstOfEachFamily(addresses: readonly IpAddress[]): {
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
} {
  const ipv4 = addresses.find((address) => !isIpv6(address));
  const ipv6 = addresses.find(isIpv6);
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}
