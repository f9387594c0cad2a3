// Ends a TCP connection from outside, for both of its ends at once: netlink SOCK_DESTROY (kernel 4.5 with
// CONFIG_INET_DIAG_DESTROY). The application gets ECONNABORTED, its peer a reset. Names exactly one socket: by its
// addresses, ports and cookie, so that a connection that took the same ports since is left alone.

import * as libc from '../mesh/io/libc.ts';
import { familyOf } from '../mesh/io/socket-address.ts';
import { Slab } from '../mesh/io/slab.ts';
import { ipToBytes } from '../mesh/model/ip-address.ts';
import { systemError } from './bpf-error.ts';
import type { AddressPort } from './map-layout.ts';

export interface SocketName {
  readonly local: AddressPort;
  readonly remote: AddressPort;
  /** Undefined: whichever socket has these ends. */
  readonly cookie: bigint | undefined;
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DESTROY = 21;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const anyCookie = 0xffff_ffff_ffff_ffffn;
const messageBytes = 72;
const ENOENT = 2;
const EOPNOTSUPP = 95;

const request = new Slab(messageBytes);
const reply = new Slab(512);

/**
 * Resets a socket of the calling thread's network namespace. False: there is no such socket (any more).
 * @throws BpfError map-failed without CAP_NET_ADMIN, and on a kernel that can not do it
 */
export function resetSocket(name: SocketName): boolean {
  const code = destroy(name);
  if (code === 0) return true;
  if (code === ENOENT) return false;
  throw systemError('map-failed', 'Could not reset a connection', code);
}

/** Whether this kernel can do it at all; asks about a socket that can not exist. */
export function canResetSockets(): boolean {
  const nobody = { address: '127.0.0.1' as AddressPort['address'], port: 0 };
  return destroy({ local: nobody, remote: nobody, cookie: 0n }) !== EOPNOTSUPP;
}

/** 0 or an errno. */
function destroy(name: SocketName): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | libc.SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return libc.errno();
  try {
    encode(name);
    if (libc.send(fd, request.address, messageBytes, 0) < 0) return libc.errno();
    const length = Number(libc.recv(fd, reply.address, reply.bytes.length, 0));
    if (length < 0) return libc.errno();
    // struct nlmsghdr, then in an NLMSG_ERROR the negative errno.
    return length < 20 ? EOPNOTSUPP : -reply.bytes.readInt32LE(16);
  } finally {
    libc.close(fd);
  }
}

/** struct nlmsghdr (16), struct inet_diag_req_v2 (8 and a struct inet_diag_sockid of 48). */
function encode({ local, remote, cookie }: SocketName): void {
  const out = request.bytes;
  out.fill(0);
  out.writeUInt32LE(messageBytes, 0);
  out.writeUInt16LE(SOCK_DESTROY, 4);
  out.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK, 6);
  out.writeUInt8(familyOf(remote.address), 16);
  out.writeUInt8(libc.IPPROTO_TCP, 17);
  out.writeUInt32LE(0xffff_ffff, 20);
  out.writeUInt16BE(local.port, 24);
  out.writeUInt16BE(remote.port, 26);
  out.set(ipToBytes(local.address), 28);
  out.set(ipToBytes(remote.address), 44);
  out.writeBigUInt64LE(cookie ?? anyCookie, 64);
}
