// Making UDP sockets for Node's dgram to adopt (`socket.bind({ fd })`): Node can not create one in another network
// namespace by itself. Non-blocking and close-on-exec.

import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { Slab } from './slab.ts';
import { encodeSockaddr, familyOf, type SocketAddress, sockaddrAddress } from './socket-address.ts';

const one = new Slab(4);
one.bytes.writeInt32LE(1, 0);

/** An unbound socket of the family of its later target. @throws IoError out-of-descriptors */
export function createUdpSocket(family: number): number {
  const fd = libc.socket(family, libc.SOCK_DGRAM | libc.SOCK_NONBLOCK | libc.SOCK_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const code = libc.errno();
  throw new IoError(
    'out-of-descriptors',
    `Could not create a UDP socket: ${libc.describeErrno(code)}; raise the open file limit (ulimit -n) if it is reached`,
    { errno: code },
  );
}

/**
 * A bound socket. An IPv6 one takes IPv6 only. SO_REUSEPORT lets two versions of the proxy overlap.
 * @throws IoError bind-failed, out-of-descriptors
 */
export function bindUdp(at: SocketAddress): number {
  const family = familyOf(at.address);
  const fd = createUdpSocket(family);
  libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_REUSEPORT, one.address, 4);
  if (family === libc.AF_INET6) libc.setsockopt(fd, libc.IPPROTO_IPV6, libc.IPV6_V6ONLY, one.address, 4);
  const length = encodeSockaddr(at);
  if (libc.bind(fd, sockaddrAddress, length) === 0) return fd;
  const code = libc.errno();
  libc.close(fd);
  throw new IoError(
    'bind-failed',
    `Could not bind UDP ${at.address} port ${at.port}: ${libc.describeErrno(code)}`,
    { errno: code },
  );
}
