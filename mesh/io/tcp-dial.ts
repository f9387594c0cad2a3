// A non-blocking TCP connect with a deadline. The socket is made and configured by the caller (in whatever namespace,
// bound to whatever source); on success the caller gets the descriptor back, on failure it is closed here.

import type { Timer } from '../runtime/clock.ts';
import { IoError } from './io-error.ts';
import * as libc from './libc.ts';
import { type IoHandler, READABLE, type Reactor, WRITABLE } from './reactor.ts';
import { socketError, startConnect } from './socket.ts';
import type { SocketAddress } from './socket-address.ts';

/** A connected descriptor, still registered on the loop: its next owner adopts it. */
export interface DialledSocket {
  readonly fd: number;
  /** Bytes, or the end, were there already; their edge will not come again. */
  readonly readable: boolean;
}

export interface TcpDialOptions {
  readonly target: SocketAddress;
  /** 1 to 60,000 ms. */
  readonly timeoutMs: number;
  readonly onConnected: (connected: DialledSocket) => void;
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
    // The only reason to ask the kernel: a plain EPOLLOUT says that the connection stands.
    const broken = (events & (libc.EPOLLERR | libc.EPOLLHUP)) !== 0;
    const code = broken ? socketError(this.#fd) : 0;
    if (code !== 0) return this.#fail(code);
    this.#done = true;
    this.#timer?.cancel();
    this.#options.onConnected({ fd: this.#fd, readable: (events & READABLE) !== 0 });
  }

  /** Gives up without a callback. Idempotent. */
  cancel(): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.cancel();
    this.#reactor.forget(this.#fd);
    libc.close(this.#fd);
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
