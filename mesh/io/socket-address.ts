// sockaddr_in and sockaddr_in6 in one scratch slab: encodes what a call needs, decodes what it returned.
// Not re-entrant: encode, call, done.

import { type IpAddress, ipFromBytes, ipToBytes } from '../model/ip-address.ts';
import * as libc from './libc.ts';
import { Slab } from './slab.ts';

export interface SocketAddress {
  readonly address: IpAddress;
  readonly port: number;
}

// 0: sockaddr (28 bytes), 32: socklen_t
const scratch = new Slab(64);
const lengthOffset = 32;

/** Address of the scratch sockaddr, for calls that fill it. */
export const sockaddrAddress = scratch.address;
/** Address of the scratch socklen_t. */
export const socklenAddress = scratch.address + lengthOffset;

/** Prepares the length field before a call that fills the scratch sockaddr. */
export function resetSocklen(): void {
  scratch.bytes.writeUInt32LE(28, lengthOffset);
}

/** Writes the sockaddr of `target` into the scratch; returns its length. */
export function encodeSockaddr(target: SocketAddress): number {
  const bytes = ipToBytes(target.address);
  const out = scratch.bytes;
  if (bytes.length === 4) {
    out.writeUInt16LE(libc.AF_INET, 0);
    out.writeUInt16BE(target.port, 2);
    out.set(bytes, 4);
    out.fill(0, 8, 16);
    return 16;
  }
  out.writeUInt16LE(libc.AF_INET6, 0);
  out.writeUInt16BE(target.port, 2);
  out.writeUInt32LE(0, 4);
  out.set(bytes, 8);
  out.writeUInt32LE(0, 24);
  return 28;
}

/** Reads the scratch sockaddr; IPv4-mapped IPv6 comes back as IPv4. */
export function decodeSockaddr(): SocketAddress {
  const bytes = scratch.bytes;
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) === libc.AF_INET) return { address: ipFromBytes(bytes.subarray(4, 8)), port };
  return { address: ipFromBytes(bytes.subarray(8, 24)), port };
}

/** AF_INET or AF_INET6. */
export function familyOf(address: IpAddress): number {
  return address.includes(':') ? libc.AF_INET6 : libc.AF_INET;
}
