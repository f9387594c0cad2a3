// A non-blocking TCP connect with a deadline. The socket is made by the caller (in whatever namespace, bound to
// whatever source); on success the caller gets the descriptor back, on failure it is closed here.

import type { Timer } from '../runtime/clock.ts';
import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { type IoHandler, type Reactor, WRITABLE } from './reactor.ts';
import { configureConnection, socketError, startConnect } from './socket.ts';
import type { SocketAddress } from './socket-address.ts';

export interface TcpDialOptions {
  readonly target: SocketAddress;
  /** 1 to 60,000 ms. */
  readonly timeoutMs: number;
  /** The descriptor is connected and not registered on the loop. */
  readonly onConnected: (fd: number) => void;
  readonly onFailed: (error: IoError) => void;
}

export class TcpDial implements IoHandler {
  #reactor: Reactor;
  #fd: number;
  #options: TcpDialOptions;
  #timer: Timer | undefined;
  #done = false;

  /** Exactly one of the two callbacks comes, never before the constructor returned. */
  constructor(reactor: Reactor, fd: number, options: TcpDialOptions) {
    this.#reactor = reactor;
    this.#fd = fd;
    this.#options = options;
    configureConnection(fd);
    const code = startConnect(fd, options.target);
    if (code !== 0) {
      // Reported by the loop, so that the caller never sees a callback from inside its own call.
      reactor.defer({ onReady: () => this.#fail(code) });
      return;
    }
    reactor.register(fd, this);
    this.#timer = reactor.after(options.timeoutMs, () => this.#fail(libc.ETIMEDOUT));
  }

  onReady(events: number): void {
    if (this.#done || (events & WRITABLE) === 0) return;
    const code = socketError(this.#fd);
    if (code !== 0) return this.#fail(code);
    this.#finish();
    this.#options.onConnected(this.#fd);
  }

  /** Gives up without a callback. Idempotent. */
  cancel(): void {
    if (this.#done) return;
    this.#finish();
    libc.close(this.#fd);
  }

  #finish(): void {
    this.#done = true;
    this.#timer?.cancel();
    this.#reactor.unregister(this.#fd);
  }

  #fail(code: number): void {
    if (this.#done) return;
    this.cancel();
    const { address, port } = this.#options.target;
    const timedOut = code === libc.ETIMEDOUT;
    this.#options.onFailed(
      new IoError(
        timedOut ? 'connect-timeout' : 'connect-failed',
        `Could not connect to ${address} port ${port}: ${timedOut ? `no answer in ${this.#options.timeoutMs} ms` : libc.describeErrno(code)}`,
        { errno: code },
      ),
    );
  }
}
