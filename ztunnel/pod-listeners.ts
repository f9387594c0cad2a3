// The listening sockets of a captured pod, made inside its network namespace on its own addresses, and the namespace
// itself. Plain descriptors: the main thread makes them, one set for each data worker, and hands them over.

import * as libc from '../mesh/io/libc.ts';
import { openNetns, withNetns } from '../mesh/io/netns.ts';
import { listenTcp } from '../mesh/io/socket.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import { ports } from './ports.ts';
import type { PodListeners } from './worker-messages.ts';

/**
 * One set for each of `workers`; SO_REUSEPORT spreads connections over them.
 * @throws NetnsError not-found @throws IoError bind-failed; nothing stays open then.
 */
export function openPodListeners(pod: NodePod, workers: number): PodListeners[] {
  const opened: number[] = [];
  const open = (): number => {
    const fd = openNetns(pod.netns);
    opened.push(fd);
    return fd;
  };
  const listen = (port: number): number[] =>
    pod.addresses.map((address) => {
      const fd = listenTcp({ address, port });
      opened.push(fd);
      return fd;
    });
  try {
    return withNetns(pod.netns, () =>
      Array.from({ length: workers }, () => ({
        netns: open(),
        outbound: listen(ports.outbound),
        hbone: listen(ports.hbone),
        plaintext: listen(ports.plaintext),
      })),
    );
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    throw error;
  }
}

export function closePodListeners(sets: readonly PodListeners[]): void {
  for (const { netns, outbound, hbone, plaintext } of sets) {
    for (const fd of [netns, ...outbound, ...hbone, ...plaintext]) libc.close(fd);
  }
}
