// Sockets of the DNS proxy in one pod's network namespace, as file descriptors that Node's dgram and net adopt.
// Outgoing ones are exempt from capture before anybody can connect them: else they would come back to us.

import { closeSync } from 'node:fs';
import * as libc from '../mesh/io/libc.ts';
import { openNetns, withNetnsFd } from '../mesh/io/netns.ts';
import { createTcpSocket, listenTcp } from '../mesh/io/socket.ts';
import { familyOf, type SocketAddress } from '../mesh/io/socket-address.ts';
import { bindUdp, createUdpSocket } from '../mesh/io/udp-socket.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';

export interface DnsSockets {
  /** The caller owns every descriptor returned. @throws IoError */
  listenUdp(at: SocketAddress): number;
  listenTcp(at: SocketAddress): number;
  udpTo(target: IpAddress): number;
  tcpTo(target: IpAddress): number;
  close(): void;
}

/**
 * @param path of the namespace; it is kept alive until `close`
 * @param exempt marks a socket as the proxy's own
 * @throws NetnsError
 */
export function netnsSockets(path: string, exempt: (fd: number) => void): DnsSockets {
  const netns = openNetns(path);
  return socketsIn(
    (run) => withNetnsFd(netns, run),
    exempt,
    () => closeSync(netns),
  );
}

/** Sockets made inside `enter`. */
export function socketsIn(
  enter: <T>(run: () => T) => T,
  exempt: (fd: number) => void,
  close: () => void = () => {},
): DnsSockets {
  const exempted = (make: () => number): number => {
    const fd = enter(make);
    try {
      exempt(fd);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return fd;
  };
  return {
    listenUdp: (at) => exempted(() => bindUdp(at)),
    listenTcp: (at) => enter(() => listenTcp(at, { backlog: 128 })),
    udpTo: (target) => exempted(() => createUdpSocket(familyOf(target))),
    tcpTo: (target) => exempted(() => createTcpSocket(familyOf(target))),
    close,
  };
}
