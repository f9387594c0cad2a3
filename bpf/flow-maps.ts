// The kernel lookups of the data path: what an accepted connection was meant for, and which sockets the redirect must
// leave alone. Works in any thread from the descriptor numbers the main thread posts (they belong to the process).
// No allocation but the result; one system call each.

import { Slab } from '../mesh/io/slab.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { systemError } from './bpf-error.ts';
import { type Libbpf, libbpf } from './libbpf.ts';
import {
  type AddressPort,
  readAddress,
  socketKind,
  socketStateSize,
  writeSocketState,
} from './map-layout.ts';

/** Plain numbers, to be posted to worker threads. Valid while the Redirect they come from is open. */
export interface FlowMapFds {
  readonly sockets: number;
}

const unspecified: AddressPort = { address: '0.0.0.0' as IpAddress, port: 0 };
const ENOENT = -2;

export class FlowMaps {
  #sockets: number;
  #bpf: Libbpf = libbpf();
  /** int fd */
  #key = new Slab(4);
  #value = new Slab(socketStateSize);
  #exempt = new Slab(socketStateSize);

  constructor(fds: FlowMapFds) {
    this.#sockets = fds.sockets;
    writeSocketState(this.#exempt.bytes, socketKind.exempt, unspecified);
  }

  /**
   * What the application wanted to reach on the connection the outbound listener accepted as `acceptedFd`. It is there
   * before accept() returns. Undefined: not a captured connection (somebody dialled the listener itself): refuse it.
   * @throws BpfError map-failed
   */
  originalDestination(acceptedFd: number): AddressPort | undefined {
    return this.#peerOf(acceptedFd, socketKind.accepted);
  }

  /**
   * What a socket asked for that the redirect has led to the proxy, from connect() on. Undefined: it was left alone.
   * @throws BpfError map-failed
   */
  redirectedFrom(connectingFd: number): AddressPort | undefined {
    return this.#peerOf(connectingFd, socketKind.captured);
  }

  /** For every socket the proxy makes in a pod, before it connects or sends. @throws BpfError map-failed */
  exempt(fd: number): void {
    this.#mark(fd, this.#exempt);
  }

  /**
   * For the last hop to the application, before it connects and bound to the pod's own address: the application sees
   * `peer`:`peerPort` in accept() and getpeername(). An IPv6 peer can not be shown to an IPv4 socket, which then sees
   * the pod's own address. @throws BpfError map-failed
   */
  exemptWithPeer(fd: number, peer: IpAddress, peerPort: number): void {
    writeSocketState(this.#value.bytes, socketKind.lastHop, { address: peer, port: peerPort });
    this.#mark(fd, this.#value);
  }

  #peerOf(fd: number, kind: number): AddressPort | undefined {
    this.#key.bytes.writeInt32LE(fd, 0);
    const result = this.#bpf.mapLookup(this.#sockets, this.#key.address, this.#value.address);
    if (result === ENOENT) return undefined;
    if (result < 0) throw systemError('map-failed', 'Could not look up the original destination', -result);
    const state = this.#value.bytes;
    if (state[18] !== kind) return undefined;
    return { address: readAddress(state, 0), port: state.readUInt16LE(16) };
  }

  #mark(fd: number, state: Slab): void {
    this.#key.bytes.writeInt32LE(fd, 0);
    const result = this.#bpf.mapUpdate(this.#sockets, this.#key.address, state.address, 0);
    if (result < 0) throw systemError('map-failed', 'Could not exempt a socket of the proxy', -result);
  }
}
