// Sockets made ahead in a pod's network namespace: entering it costs two system calls, so a few are made each time.
// An unused socket is a small kernel object without a port.

import * as libc from '../mesh/io/libc.ts';
import { withNetnsFd } from '../mesh/io/netns.ts';
import { createTcpSocket } from '../mesh/io/socket.ts';

/** Made at once; more saves less and less. */
const batch = 8;

export class SocketStash {
  #netns: number;
  #spare = new Map<number, number[]>();

  /** @param netns an open descriptor of the namespace, which stays the caller's. */
  constructor(netns: number) {
    this.#netns = netns;
  }

  /** A fresh TCP socket of the family. @throws IoError out-of-descriptors, NetnsError */
  take(family: number): number {
    const spare = this.#spare.get(family)?.pop();
    if (spare !== undefined) return spare;
    const made = withNetnsFd(this.#netns, () => makeSome(family));
    this.#spare.set(family, made);
    // makeSome() gives at least one, or throws.
    return made.pop() as number;
  }

  close(): void {
    for (const fds of this.#spare.values()) for (const fd of fds) libc.close(fd);
    this.#spare.clear();
  }
}

/** As many of a batch as can be had. */
function makeSome(family: number): number[] {
  const made = [createTcpSocket(family)];
  try {
    while (made.length < batch) made.push(createTcpSocket(family));
  } catch {
    // Out of descriptors: one is enough for now.
  }
  return made;
}
