// Accepts connections from a listening socket and hands their descriptors on. Accepting pauses when the process runs
// out of descriptors or the owner says so, and resumes by itself: the kernel's queue holds the rest.

import type { Timer } from '../runtime/clock.ts';
import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import type { IoHandler, Reactor } from './reactor.ts';
import {
  decodeSockaddr,
  resetSocklen,
  type SocketAddress,
  sockaddrAddress,
  socklenAddress,
} from './socket-address.ts';

/** At most this many accepts in one turn of the loop, so that established connections are served in between. */
const maxAcceptsPerTurn = 64;
const pauseMs = 50;
const fullBurstsToGrow = 4;

export interface TcpListenerOptions {
  /** Owns `fd` from here on. */
  readonly onConnection: (fd: number, remote: SocketAddress) => void;
  /** False pauses accepting for 50 ms: the bound on connections is reached. */
  readonly admit?: () => boolean;
  readonly onError?: (error: IoError) => void;
}

export class TcpListener implements IoHandler {
  readonly fd: number;
  #reactor: Reactor;
  #options: TcpListenerOptions;
  #pause: Timer | undefined;
  #open = true;
  /**
   * Accepts to try in a turn: grows where several turns found as many as they tried, falls to what came. Saves the call
   * that finds the queue empty.
   */
  #burst = 1;
  #fullBursts = 0;

  /** Takes ownership of `fd`, a listening non-blocking socket. */
  constructor(reactor: Reactor, fd: number, options: TcpListenerOptions) {
    this.fd = fd;
    this.#reactor = reactor;
    this.#options = options;
    reactor.registerListener(fd, this);
  }

  onReady(): void {
    const burst = this.#burst;
    for (let i = 0; i < burst && this.#open; i++) {
      if (this.#options.admit?.() === false) return this.#pauseAccepting();
      const code = this.#acceptOne();
      if (code !== 0) {
        this.#burst = Math.max(1, i);
        this.#fullBursts = 0;
        return this.#acceptFailed(code);
      }
    }
    if (++this.#fullBursts < fullBurstsToGrow) return;
    this.#fullBursts = 0;
    this.#burst = Math.min(maxAcceptsPerTurn, burst * 2);
  }

  /**
   * Accepts what waits in the kernel's queue, as far as the owner admits it, then closes: to connections still in the
   * queue a close alone is a reset. Idempotent.
   */
  finish(): void {
    while (this.#open && this.#options.admit?.() !== false && this.#acceptOne() === 0);
    this.close();
  }

  /** Stops accepting and closes the socket; connections already handed on live. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#pause?.cancel();
    this.#reactor.unregister(this.fd);
    libc.close(this.fd);
  }

  /** 0, or the errno for which there was none to accept. */
  #acceptOne(): number {
    resetSocklen();
    const fd = libc.accept4(this.fd, sockaddrAddress, socklenAddress, libc.SOCK_NONBLOCK | libc.SOCK_CLOEXEC);
    if (fd < 0) return libc.errno();
    this.#options.onConnection(fd, decodeSockaddr());
    return 0;
  }

  #acceptFailed(code: number): void {
    const exhausted =
      code === libc.EMFILE || code === libc.ENFILE || code === libc.ENOMEM || code === libc.ENOBUFS;
    if (!exhausted) return; // EAGAIN: the queue is empty; others concern one connection that is already gone
    this.#options.onError?.(
      new IoError(
        'out-of-descriptors',
        `Accepting is paused: ${libc.describeErrno(code)}; raise the open file limit`,
        {
          errno: code,
        },
      ),
    );
    this.#pauseAccepting();
  }

  #pauseAccepting(): void {
    this.#reactor.setListening(this.fd, false);
    this.#pause = this.#reactor.after(pauseMs, () => {
      if (this.#open) this.#reactor.setListening(this.fd, true);
    });
  }
}
