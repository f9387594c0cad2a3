// Applications at both ends of a data path that make no garbage and count their own calls: what is left of all calls and
// all allocations is the data path's. Both run on the reactor of the test.

import * as libc from '../libc.ts';
import { type IoHandler, READABLE, type Reactor, WRITABLE } from '../reactor.ts';
import { Slab } from '../slab.ts';
import { createTcpSocket, listenTcp, localAddress } from '../socket.ts';
import { TcpDial } from '../tcp-dial.ts';
import { TcpListener } from '../tcp-listener.ts';
import { FAILED, TcpStream, WOULD_BLOCK } from '../tcp-stream.ts';
import { ip } from '../../model/fixture.ts';

const loopback = ip('127.0.0.1');
const bytes = new Slab(256 * 1024);

export abstract class Application implements IoHandler {
  readonly #stream: TcpStream;
  /** To be taken off from what was counted. */
  reads = 0;
  writes = 0;

  constructor(reactor: Reactor, stream: TcpStream) {
    this.#stream = stream;
    stream.watch(reactor, this);
  }

  abstract onReady(events: number): void;

  close(reactor: Reactor): void {
    reactor.forget(this.#stream.fd);
    this.#stream.close();
  }

  /** 0 where nothing is there now. */
  protected read(length: number): number {
    this.reads++;
    const count = this.#stream.read(bytes, 0, length);
    if (count === FAILED || count === 0) throw new Error(`The application's connection ended: ${count}`);
    return count === WOULD_BLOCK ? 0 : count;
  }

  protected write(length: number): number {
    this.writes++;
    const count = this.#stream.write(bytes, 0, length);
    if (count === FAILED) throw new Error('The application could not write');
    return count;
  }
}

/** Sends 64 bytes whenever 64 came, as long as there are rounds left: client and server of a ping-pong. */
export class PingPong extends Application {
  /** Rounds to go. */
  left = 0;

  start(rounds: number): void {
    this.left = rounds;
    this.write(64);
  }

  onReady(events: number): void {
    if ((events & READABLE) === 0) return;
    const count = this.read(64);
    if (count === 0) return;
    if (count !== 64) throw new Error(`A message came in pieces: ${count} of 64 bytes`);
    this.left--;
    if (this.left > 0) this.write(64);
  }
}

/** Writes as much as the kernel takes until `left` is 0. */
export class Source extends Application {
  left = 0;

  start(total: number): void {
    this.left = total;
    this.#fill();
  }

  onReady(events: number): void {
    if ((events & WRITABLE) !== 0) this.#fill();
  }

  #fill(): void {
    while (this.left > 0) {
      const wish = Math.min(this.left, bytes.bytes.length);
      const count = this.write(wish);
      this.left -= count;
      if (count < wish) return;
    }
  }
}

/** Reads all there is. */
export class Sink extends Application {
  received = 0;

  onReady(events: number): void {
    if ((events & READABLE) === 0) return;
    for (let count = this.read(bytes.bytes.length); count > 0; count = this.read(bytes.bytes.length)) {
      this.received += count;
      if (count < bytes.bytes.length) return;
    }
  }
}

/** Listens on loopback; the listener is the caller's to close. */
export function serveRaw(
  reactor: Reactor,
  onStream: (stream: TcpStream) => void,
): { readonly listener: TcpListener; readonly port: number } {
  const fd = listenTcp({ address: loopback, port: 0 });
  const { port } = localAddress(fd);
  const listener = new TcpListener(reactor, fd, {
    onConnection: (accepted) => onStream(new TcpStream(accepted)),
  });
  return { listener, port };
}

export function dialRaw(reactor: Reactor, port: number, onStream: (stream: TcpStream) => void): void {
  new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
    target: { address: loopback, port },
    timeoutMs: 5_000,
    onConnected: (dialled) => onStream(new TcpStream(dialled)),
    onFailed: (error) => {
      throw error;
    },
  });
}
