// What the caller tells about a pod, checked against the kernel before anything is attached.

import { fstatSync, statSync } from 'node:fs';
import * as libc from '../mesh/io/libc.ts';
import { Slab } from '../mesh/io/slab.ts';
import { type IpAddress, isLoopback } from '../mesh/model/ip-address.ts';
import { BpfError } from './bpf-error.ts';
import { listenerSlots, maxOwnAddresses } from './map-layout.ts';

export interface PodCapture {
  /** For example `/run/netns/web-1`. */
  readonly netnsPath: string;
  /** The pod's own addresses, 1 to 8; outbound connections go to the first of their family. */
  readonly addresses: readonly IpAddress[];
  /** Port of the outbound listener inside the pod, 15001 by convention. */
  readonly outboundPort: number;
  /** UDP port of the DNS listener inside the pod; absent: DNS is not captured. */
  readonly dnsPort?: number;
  /** Destination port that goes to the HBONE listeners. Default 15008. */
  readonly hbonePort?: number;
  /** Where the kubelet reaches the pod past the mesh, at most 32. Default: nowhere. */
  readonly probePorts?: readonly number[];
  /** Listening sockets made in the pod's namespace, 1 to 16, any family: all of this process, each gets its share. */
  readonly hboneListeners: readonly number[];
  /** As `hboneListeners`, for every other port. */
  readonly plaintextListeners: readonly number[];
  /** As `hboneListeners`, for what the pod itself connects to. */
  readonly outboundListeners: readonly number[];
  /** UDP and TCP sockets at `dnsPort`, at most 16. None: whoever is bound there answers. */
  readonly dnsListeners?: readonly number[];
}

const leastListeners = { hboneListeners: 1, plaintextListeners: 1, outboundListeners: 1, dnsListeners: 0 };

const SO_NETNS_COOKIE = 71;
const scratch = new Slab(16);

/** Cookie of the network namespace a socket was made in (kernel 5.14). @throws BpfError invalid-capture */
export function netnsCookieOf(fd: number): bigint {
  scratch.bytes.writeUInt32LE(8, 8);
  if (libc.getsockopt(fd, libc.SOL_SOCKET, SO_NETNS_COOKIE, scratch.address, scratch.address + 8) < 0) {
    throw new BpfError(
      'invalid-capture',
      `Could not read the namespace of descriptor ${fd}: ${libc.describeErrno(libc.errno())}`,
    );
  }
  return scratch.bytes.readBigUInt64LE(0);
}

/** Cookie of the namespace the calling thread is in. @throws BpfError invalid-capture */
export function currentNetnsCookie(): bigint {
  const fd = libc.socket(libc.AF_INET, libc.SOCK_DGRAM | libc.SOCK_CLOEXEC, 0);
  if (fd < 0)
    throw new BpfError('invalid-capture', `Could not make a socket: ${libc.describeErrno(libc.errno())}`);
  try {
    return netnsCookieOf(fd);
  } finally {
    libc.close(fd);
  }
}

/**
 * A pod on the host's network has the namespace of the machine, which is the proxy's where that is on the host's network
 * too: capturing it would capture the machine and the proxy. @throws BpfError invalid-capture
 */
export function refuseOwnNetns(podUid: string, netnsFd: number): void {
  if (statSync('/proc/thread-self/ns/net').ino !== fstatSync(netnsFd).ino) return;
  throw new BpfError(
    'invalid-capture',
    `Pod "${podUid}" can not be captured: its network namespace is the proxy's own (hostNetwork)`,
  );
}

/** @throws BpfError invalid-capture, naming the pod and what is wrong */
export function validateCapture(podUid: string, capture: PodCapture, netnsCookie: bigint): void {
  const reject = (reason: string) =>
    new BpfError('invalid-capture', `Pod "${podUid}" can not be captured: ${reason}`);
  const { addresses } = capture;
  if (addresses.length === 0 || addresses.length > maxOwnAddresses) {
    throw reject(`it has ${addresses.length} addresses, 1 to ${maxOwnAddresses} are possible`);
  }
  const loopback = addresses.find(isLoopback);
  if (loopback !== undefined) throw reject(`"${loopback}" is a loopback address`);
  for (const name of ['outboundPort', 'dnsPort', 'hbonePort'] as const) {
    const port = capture[name];
    if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65535)) {
      throw reject(`${name} is ${port}, 1 to 65535 are possible`);
    }
  }
  for (const name of ['hboneListeners', 'plaintextListeners', 'outboundListeners', 'dnsListeners'] as const) {
    const fds = capture[name] ?? [];
    const least = leastListeners[name];
    if (fds.length < least || fds.length > listenerSlots) {
      throw reject(`it has ${fds.length} ${name}, ${least} to ${listenerSlots} are possible`);
    }
    if (fds.some((fd) => netnsCookieOf(fd) !== netnsCookie)) {
      throw reject(`one of the ${name} is not a socket made in "${capture.netnsPath}"`);
    }
  }
}
