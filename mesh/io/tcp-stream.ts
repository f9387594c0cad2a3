// A connected TCP socket as a splice uses it: read into a slab, write from a slab, half-close, reset. Does not watch
// itself on the loop; the owner registers `fd` and decides when to read.

import * as libc from './libc.ts';
import { type IoHandler, READABLE, type Reactor } from './reactor.ts';
import type { Slab } from './slab.ts';
import { resetAndClose, socketError } from './socket.ts';
import type { DialledSocket } from './tcp-dial.ts';

/** Nothing to read now; an event will say when. */
export const WOULD_BLOCK = -1;
/** The connection is broken; `error` holds the errno. */
export const FAILED = -2;

export class TcpStream {
  readonly fd: number;
  /** errno of the call that returned FAILED. */
  error = 0;
  #open = true;
  #dialled: DialledSocket | undefined;
  #guard: ResetGuard | undefined;

  /** Takes ownership of a connected, non-blocking socket: accepted (a plain number) or dialled. */
  constructor(socket: number | DialledSocket) {
    this.fd = typeof socket === 'number' ? socket : socket.fd;
    this.#dialled = typeof socket === 'number' ? undefined : socket;
  }

  /**
   * Watches an accepted connection whose bytes nobody wants yet: `onReset` is called when the peer broke it. Its end alone
   * (FIN) says nothing: a client may have sent all it had. Until `watch` takes over, or the stream is closed.
   */
  guard(reactor: Reactor, onReset: () => void): void {
    this.#guard = new ResetGuard(reactor, this.fd, onReset);
  }

  /** Puts the connection on the loop; the first event tells what it is ready for. */
  watch(reactor: Reactor, handler: IoHandler): void {
    const guard = this.#guard;
    this.#guard = undefined;
    if (guard !== undefined) guard.handOver(handler);
    else if (this.#dialled === undefined) reactor.register(this.fd, handler);
    else reactor.adopt(this.fd, handler, { ready: this.#dialled.readable });
  }

  get open(): boolean {
    return this.#open;
  }

  /** Bytes read (1 to `length`), 0 at end of stream, WOULD_BLOCK or FAILED. */
  read(slab: Slab, offset: number, length: number): number {
    const count = libc.recv(this.fd, slab.address + offset, length, 0);
    if (count >= 0) return count;
    const code = libc.errno();
    if (code === libc.EAGAIN || code === libc.EINTR) return WOULD_BLOCK;
    this.error = code;
    return FAILED;
  }

  /** Bytes taken by the kernel (0 to `length`) or FAILED. Fewer than `length`: an event says when there is room. */
  write(slab: Slab, offset: number, length: number): number {
    const count = libc.send(this.fd, slab.address + offset, length, libc.MSG_NOSIGNAL);
    if (count >= 0) return count;
    const code = libc.errno();
    if (code === libc.EAGAIN || code === libc.EINTR) return 0;
    this.error = code;
    return FAILED;
  }

  /** True when the peer reset the connection. For an owner that is not reading, to whom no read tells. */
  wasReset(): boolean {
    this.error = socketError(this.fd);
    return this.error !== 0;
  }

  /** Sends FIN after what was written; reading goes on. */
  shutdownWrite(): void {
    libc.shutdown(this.fd, libc.SHUT_WR);
  }

  /** Orderly close; idempotent. The owner takes it off the loop first (`forget`). */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#guard?.end();
    libc.close(this.fd);
  }

  /** Close with a reset, so that the peer does not take the end for an orderly one; idempotent. */
  reset(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#guard?.end();
    resetAndClose(this.fd);
  }
}

class ResetGuard implements IoHandler {
  readonly #reactor: Reactor;
  readonly #fd: number;
  readonly #onReset: () => void;
  /** What came meanwhile; these edges will not come again. */
  #events = 0;
  #next: IoHandler | undefined;

  constructor(reactor: Reactor, fd: number, onReset: () => void) {
    this.#reactor = reactor;
    this.#fd = fd;
    this.#onReset = onReset;
    reactor.register(fd, this);
  }

  onReady(events: number): void {
    // Tells exactly what was seen, as "everything" would have its owner look for an end in each read from here on.
    if (this.#next !== undefined) return this.#next.onReady(this.#events);
    this.#events |= events;
    if ((events & (libc.EPOLLERR | libc.EPOLLHUP)) !== 0) this.#onReset();
  }

  handOver(next: IoHandler): void {
    this.#next = next;
    this.#reactor.adopt(this.#fd, next, { ready: false });
    if ((this.#events & READABLE) !== 0) this.#reactor.soon(this);
  }

  end(): void {
    this.#reactor.forget(this.#fd);
  }
}
