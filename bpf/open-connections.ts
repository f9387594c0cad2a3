// The established TCP connections of a network namespace, each with whether the redirect knows its socket: what it led,
// exempted or disguised has a state in the map of sockets, and what is older than the capture has none. One netlink dump
// (sock_diag(7)) a family with INET_DIAG_REQ_SK_BPF_STORAGES (kernel 5.8).

import * as libc from '../mesh/io/libc.ts';
import { Slab } from '../mesh/io/slab.ts';
import { ipFromBytes } from '../mesh/model/ip-address.ts';
import { systemError } from './bpf-error.ts';
import { type AddressPort, readAddress } from './map-layout.ts';

export interface OpenConnection {
  readonly local: AddressPort;
  readonly remote: AddressPort;
  /** Names the socket as long as the machine is up. */
  readonly cookie: bigint;
  /** The redirect has a state for its socket. */
  readonly known: boolean;
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const TCP_ESTABLISHED = 1;
/** struct nlmsghdr and struct inet_diag_req_v2. */
const requestBytes = 16 + 56;
const INET_DIAG_REQ_SK_BPF_STORAGES = 2;
const SK_DIAG_BPF_STORAGE_REQ_MAP_FD = 1;
const INET_DIAG_SK_BPF_STORAGES = 20;
/** Where the attributes of an answer begin: after struct nlmsghdr and struct inet_diag_msg. */
const answerBytes = 16 + 72;
const nested = 0x8000;

const request = new Slab(requestBytes + 12);
const reply = new Slab(256 * 1024);

/**
 * Of the calling thread's namespace, at most `limit`.
 * @param socketsFd the redirect's map of sockets
 * @throws BpfError map-failed without CAP_NET_ADMIN or CAP_BPF
 */
export function openConnections(socketsFd: number, limit: number): OpenConnection[] {
  const found: OpenConnection[] = [];
  for (const family of [libc.AF_INET, libc.AF_INET6]) dump(family, { socketsFd, found, limit });
  return found;
}

function dump(
  family: number,
  { socketsFd, found, limit }: { socketsFd: number; found: OpenConnection[]; limit: number },
): void {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | libc.SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) throw failed(libc.errno());
  try {
    encode(family, socketsFd);
    if (libc.send(fd, request.address, request.bytes.length, 0) < 0) throw failed(libc.errno());
    while (found.length < limit) {
      const length = Number(libc.recv(fd, reply.address, reply.bytes.length, 0));
      if (length < 0) throw failed(libc.errno());
      if (!decode(reply.bytes.subarray(0, length), found)) return;
    }
  } finally {
    libc.close(fd);
  }
}

function encode(family: number, socketsFd: number): void {
  const out = request.bytes;
  out.fill(0);
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  out.writeUInt16LE(NLM_F_REQUEST | NLM_F_DUMP, 6);
  out.writeUInt8(family, 16);
  out.writeUInt8(libc.IPPROTO_TCP, 17);
  out.writeUInt32LE(1 << TCP_ESTABLISHED, 20);
  out.writeUInt16LE(12, requestBytes);
  out.writeUInt16LE(INET_DIAG_REQ_SK_BPF_STORAGES | nested, requestBytes + 2);
  out.writeUInt16LE(8, requestBytes + 4);
  out.writeUInt16LE(SK_DIAG_BPF_STORAGE_REQ_MAP_FD, requestBytes + 6);
  out.writeUInt32LE(socketsFd, requestBytes + 8);
}

/** False when that was the last of it. */
function decode(bytes: Buffer, found: OpenConnection[]): boolean {
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    const type = bytes.readUInt16LE(at + 4);
    if (type === NLMSG_DONE || length < 16) return false;
    if (type === NLMSG_ERROR) throw failed(-bytes.readInt32LE(at + 16));
    if (length >= answerBytes) found.push(readConnection(bytes.subarray(at, at + length)));
    at += align(length);
  }
  return true;
}

function readConnection(message: Buffer): OpenConnection {
  const isIpv4 = message.readUInt8(16) === libc.AF_INET;
  const end = (port: number, address: number): AddressPort => ({
    address: isIpv4 ? ipFromBytes(message.subarray(address, address + 4)) : readAddress(message, address),
    port: message.readUInt16BE(port),
  });
  return {
    local: end(20, 24),
    remote: end(22, 40),
    cookie: message.readBigUInt64LE(60),
    known: hasStorage(message),
  };
}

function hasStorage(message: Buffer): boolean {
  for (let at = answerBytes; at + 4 <= message.length; ) {
    const length = message.readUInt16LE(at);
    if (length < 4) return false;
    if ((message.readUInt16LE(at + 2) & ~nested) === INET_DIAG_SK_BPF_STORAGES) return length > 4;
    at += align(length);
  }
  return false;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function failed(code: number): Error {
  return systemError('map-failed', 'Could not list the connections of a network namespace', code);
}
