// The listening sockets of a waypoint: plain descriptors, one set for each data worker, made by the main thread and handed
// over. SO_REUSEPORT spreads connections over the workers, and lets a new waypoint take over from an old one.

import { IoError } from '../mesh/io/io-error.ts';
import * as libc from '../mesh/io/libc.ts';
import { listenTcp, localAddress } from '../mesh/io/socket.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { type IpAddress, parseIpAddress } from '../mesh/model/ip-address.ts';
import type { PlainListener } from './config.ts';
import { hbonePort } from './ports.ts';
import type { WorkerListeners } from './worker-messages.ts';

const anyIpv4 = parseIpAddress('0.0.0.0') as IpAddress;
const anyIpv6 = parseIpAddress('::') as IpAddress;

export interface ListenerPlan {
  /** Undefined: port 15008 of every address. */
  readonly hbone: SocketAddress | undefined;
  readonly plain: readonly PlainListener[];
  readonly workers: number;
}

/** @throws IoError bind-failed; nothing stays open then. */
export function openListeners({ hbone, plain, workers }: ListenerPlan): WorkerListeners[] {
  const opened: number[] = [];
  const listen = (at: SocketAddress): number => {
    const fd = listenTcp(at);
    opened.push(fd);
    return fd;
  };
  try {
    // Where a port was 0, the first socket chose it for all.
    const first = {
      hbone: hbone === undefined ? listenEverywhere(listen) : [listen(hbone)],
      plain: plain.map(({ at, service, port }) => ({ fd: listen(at), service, port })),
    };
    const again = (fd: number): number => listen(localAddress(fd));
    const others = Array.from({ length: workers - 1 }, () => ({
      hbone: first.hbone.map(again),
      plain: first.plain.map((listener) => ({ ...listener, fd: again(listener.fd) })),
    }));
    return [first, ...others];
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    throw error;
  }
}

/** IPv4, and IPv6 where the machine has it. */
function listenEverywhere(listen: (at: SocketAddress) => number): number[] {
  const ipv4 = listen({ address: anyIpv4, port: hbonePort });
  try {
    return [ipv4, listen({ address: anyIpv6, port: hbonePort })];
  } catch (error) {
    if (error instanceof IoError && error.errno !== libc.EADDRINUSE) return [ipv4];
    throw error;
  }
}
