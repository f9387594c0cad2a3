// Proves that the steering of a pod works without a packet: asks the kernel where the link is attached, then runs the
// program that it has there for made-up callers (BPF_PROG_TEST_RUN, kernel 5.13) and sees whether it picks a live socket.
// Nothing of it is on the wire, so no NetworkPolicy can get in its way.

import { closeSync } from 'node:fs';
import { familyOf } from '../mesh/io/socket-address.ts';
import { Slab } from '../mesh/io/slab.ts';
import { type IpAddress, ipToBytes } from '../mesh/model/ip-address.ts';
import { AF_INET, IPPROTO_TCP } from '../mesh/io/libc.ts';
import { linkProgramId, linkTarget } from './bpf-link.ts';
import { libbpf } from './libbpf.ts';

export type SteeringProof =
  /** Every address and port that was tried leads to a live socket. */
  | { readonly kind: 'steered' }
  /** Another process has put its own program there: whether that works is its business. */
  | { readonly kind: 'superseded' }
  | { readonly kind: 'detached' }
  /** Attached, and what comes to `port` is refused as nobody listens any more. */
  | { readonly kind: 'unserved'; readonly address: IpAddress; readonly port: number };

export interface SteeringQuestion {
  readonly linkFd: number;
  readonly programId: number;
  /** Inode of the pod's network namespace. */
  readonly netnsInode: bigint;
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly number[];
}

/** Of the documentation networks (RFC 5737, RFC 3849): in the question only, nothing is sent to them. */
const stranger = { ipv4: '192.0.2.253' as IpAddress, ipv6: '2001:db8::253' as IpAddress };
const strangerPort = 40_000;
const SK_PASS = 1;

/** struct bpf_sk_lookup: 72 bytes, and struct bpf_test_run_opts: 80 (libbpf 1.0). */
const contextBytes = 72;
const optionsBytes = 80;
const scratch = new Slab(contextBytes + optionsBytes);

/** Takes about 20 us for each address and port. */
export function proveSteering(question: SteeringQuestion): SteeringProof {
  const { linkFd, programId, netnsInode, addresses, ports } = question;
  const running = linkProgramId(linkFd);
  if (linkTarget(linkFd) !== netnsInode || running === 0) return { kind: 'detached' };
  if (running !== programId) return { kind: 'superseded' };
  const program = libbpf().progById(running);
  if (program < 0) return { kind: 'detached' };
  try {
    for (const address of addresses)
      for (const port of ports)
        if (!picksSocket(program, address, port)) return { kind: 'unserved', address, port };
    return { kind: 'steered' };
  } finally {
    closeSync(program);
  }
}

function picksSocket(program: number, address: IpAddress, port: number): boolean {
  const { bytes } = scratch;
  bytes.fill(0);
  const isIpv4 = familyOf(address) === AF_INET;
  bytes.writeUInt32LE(familyOf(address), 8);
  bytes.writeUInt32LE(IPPROTO_TCP, 12);
  bytes.set(ipToBytes(isIpv4 ? stranger.ipv4 : stranger.ipv6), isIpv4 ? 16 : 20);
  bytes.writeUInt16BE(strangerPort, 36);
  bytes.set(ipToBytes(address), isIpv4 ? 40 : 44);
  bytes.writeUInt32LE(port, 60);
  const options = contextBytes;
  bytes.writeBigUInt64LE(BigInt(optionsBytes), options);
  // ctx_in and ctx_out: the same memory.
  bytes.writeBigUInt64LE(BigInt(scratch.address), options + 32);
  bytes.writeBigUInt64LE(BigInt(scratch.address), options + 40);
  bytes.writeUInt32LE(contextBytes, options + 48);
  bytes.writeUInt32LE(contextBytes, options + 52);
  if (libbpf().progTestRun(program, scratch.address + options) < 0) return false;
  // What it answered, and the cookie of the socket that was picked, which the kernel writes at 0.
  return bytes.readUInt32LE(options + 56) === SK_PASS && bytes.readBigUInt64LE(0) !== 0n;
}
