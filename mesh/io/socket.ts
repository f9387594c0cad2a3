// Making and configuring TCP sockets. All of them are non-blocking and close-on-exec; keepalive and no-delay are set
// on every connection, because a mesh that swallows keepalives leaves zombies behind.

import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { Slab } from './slab.ts';
import {
  decodeSockaddr,
  encodeSockaddr,
  familyOf,
  resetSocklen,
  type SocketAddress,
  sockaddrAddress,
  socklenAddress,
} from './socket-address.ts';

export interface KeepaliveOptions {
  readonly idleSeconds: number;
  readonly intervalSeconds: number;
  readonly probes: number;
}

/** Istio's values: a dead peer is noticed after idle + interval * probes seconds. */
export const defaultKeepalive: KeepaliveOptions = { idleSeconds: 180, intervalSeconds: 180, probes: 9 };

const optionSlab = new Slab(16);

function setOption(fd: number, level: number, name: number, value: number): boolean {
  optionSlab.bytes.writeInt32LE(value, 0);
  return libc.setsockopt(fd, level, name, optionSlab.address, 4) === 0;
}

/** @throws IoError out-of-descriptors */
export function createTcpSocket(family: number): number {
  const fd = libc.socket(family, libc.SOCK_STREAM | libc.SOCK_NONBLOCK | libc.SOCK_CLOEXEC, 0);
  if (fd < 0) throw outOfDescriptors('create a TCP socket');
  return fd;
}

function outOfDescriptors(what: string): IoError {
  const code = libc.errno();
  return new IoError(
    'out-of-descriptors',
    `Could not ${what}: ${libc.describeErrno(code)}; raise the open file limit (ulimit -n) if it is reached`,
    { errno: code },
  );
}

/**
 * No-delay and keepalive. On a listener they hold for every connection it accepts (Linux copies them to the child).
 */
export function configureConnection(fd: number, keepalive: KeepaliveOptions = defaultKeepalive): void {
  setOption(fd, libc.IPPROTO_TCP, libc.TCP_NODELAY, 1);
  setOption(fd, libc.SOL_SOCKET, libc.SO_KEEPALIVE, 1);
  setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPIDLE, keepalive.idleSeconds);
  setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPINTVL, keepalive.intervalSeconds);
  setOption(fd, libc.IPPROTO_TCP, libc.TCP_KEEPCNT, keepalive.probes);
}

/**
 * A listening socket. An IPv6 listener takes IPv6 only. SO_REUSEPORT lets several workers, and two versions of the
 * proxy, listen at the same place.
 * @param backlog connections the kernel queues before it drops, 1 to net.core.somaxconn.
 * @throws IoError bind-failed
 */
export function listenTcp(
  at: SocketAddress,
  options?: { readonly backlog?: number; readonly reusePort?: boolean },
): number {
  const family = familyOf(at.address);
  const fd = createTcpSocket(family);
  setOption(fd, libc.SOL_SOCKET, libc.SO_REUSEADDR, 1);
  if (options?.reusePort !== false) setOption(fd, libc.SOL_SOCKET, libc.SO_REUSEPORT, 1);
  if (family === libc.AF_INET6) setOption(fd, libc.IPPROTO_IPV6, libc.IPV6_V6ONLY, 1);
  configureConnection(fd);
  const length = encodeSockaddr(at);
  if (libc.bind(fd, sockaddrAddress, length) < 0 || libc.listen(fd, options?.backlog ?? 4096) < 0) {
    const code = libc.errno();
    libc.close(fd);
    throw new IoError(
      'bind-failed',
      `Could not listen on ${at.address} port ${at.port}: ${libc.describeErrno(code)}`,
      {
        errno: code,
      },
    );
  }
  return fd;
}

/**
 * For a hop that stays in one network namespace: no-delay, and keepalive at the namespace's own pace, since the kernel
 * itself tells when a local peer is gone.
 */
export function configureLocalConnection(fd: number): void {
  setOption(fd, libc.IPPROTO_TCP, libc.TCP_NODELAY, 1);
  setOption(fd, libc.SOL_SOCKET, libc.SO_KEEPALIVE, 1);
}

/** Binds `fd` to a source address; the kernel picks the port at connect time. @throws IoError bind-failed */
export function bindSource(fd: number, source: SocketAddress): void {
  setOption(fd, libc.IPPROTO_IP, libc.IP_BIND_ADDRESS_NO_PORT, 1);
  const length = encodeSockaddr(source);
  if (libc.bind(fd, sockaddrAddress, length) < 0) {
    const code = libc.errno();
    throw new IoError(
      'bind-failed',
      `Could not use source address ${source.address}: ${libc.describeErrno(code)}`,
      {
        errno: code,
      },
    );
  }
}

/** Starts a non-blocking connect. Returns 0 when it is under way or done, the errno otherwise. */
export function startConnect(fd: number, target: SocketAddress): number {
  const length = encodeSockaddr(target);
  if (libc.connect(fd, sockaddrAddress, length) === 0) return 0;
  const code = libc.errno();
  return code === libc.EINPROGRESS ? 0 : code;
}

/**
 * From here on connect() of `fd` binds and routes, but nothing is sent before the first send() (tcp(7),
 * TCP_FASTOPEN_CONNECT, kernel 4.11; without a cookie, 4.15). False: net.ipv4.tcp_fastopen does not allow it.
 */
export function deferConnect(fd: number): boolean {
  return (
    setOption(fd, libc.IPPROTO_TCP, libc.TCP_FASTOPEN_CONNECT, 1) &&
    setOption(fd, libc.IPPROTO_TCP, libc.TCP_FASTOPEN_NO_COOKIE, 1)
  );
}

/** The pending error of a socket (0 none), cleared by reading; how a non-blocking connect reports its end. */
export function socketError(fd: number): number {
  optionSlab.bytes.writeUInt32LE(4, 8);
  if (libc.getsockopt(fd, libc.SOL_SOCKET, libc.SO_ERROR, optionSlab.address, optionSlab.address + 8) < 0) {
    return libc.errno();
  }
  return optionSlab.bytes.readInt32LE(0);
}

/** The address this end of `fd` has. */
export function localAddress(fd: number): SocketAddress {
  resetSocklen();
  libc.getsockname(fd, sockaddrAddress, socklenAddress);
  return decodeSockaddr();
}

/** The address the other end of `fd` has; undefined when it is not (or no longer) connected. */
export function remoteAddress(fd: number): SocketAddress | undefined {
  resetSocklen();
  return libc.getpeername(fd, sockaddrAddress, socklenAddress) < 0 ? undefined : decodeSockaddr();
}

/** Closes so that the peer sees a reset, not an orderly end (SO_LINGER with 0 seconds). */
export function resetAndClose(fd: number): void {
  optionSlab.bytes.writeInt32LE(1, 0);
  optionSlab.bytes.writeInt32LE(0, 4);
  libc.setsockopt(fd, libc.SOL_SOCKET, libc.SO_LINGER, optionSlab.address, 8);
  libc.close(fd);
}
