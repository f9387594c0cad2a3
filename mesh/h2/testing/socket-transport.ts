// Test adapter: drives a session with a node:net socket. Bounded like the real transport, so that backpressure is exercised.

import type { Socket } from 'node:net';
import { Slab } from '../../io/slab.ts';
import type { H2Session } from '../session.ts';
import type { H2Transport } from '../transport.ts';

export class SocketTransport implements H2Transport {
  readonly #socket: Socket;
  readonly #bound: number;
  readonly #slab = new Slab(65_536);
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #session: H2Session | undefined;

  constructor(socket: Socket, options: { readonly bound?: number } = {}) {
    this.#socket = socket;
    this.#bound = options.bound ?? 262_144;
    socket.setNoDelay(true);
    socket.on('error', () => {});
  }

  /** Connects both ways; call start() on the session after it. */
  attach(session: H2Session): void {
    this.#session = session;
    const { bytes } = this.#slab;
    this.#socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += bytes.length) {
        const length = Math.min(bytes.length, chunk.length - at);
        chunk.copy(bytes, 0, at, at + length);
        session.receive(this.#slab, 0, length);
      }
    });
    this.#socket.on('close', () => session.transportClosed());
  }

  room(): number {
    return Math.max(0, this.#bound - this.#pendingBytes - this.#socket.writableLength);
  }

  write(slab: Slab, offset: number, length: number): void {
    if (length > this.room()) throw new Error(`Writing ${length} octets with room for ${this.room()}`);
    this.#pending.push(Buffer.copyBytesFrom(slab.bytes, offset, length));
    this.#pendingBytes += length;
  }

  flush(): void {
    if (this.#pendingBytes === 0 || this.#socket.destroyed) return;
    const batch = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#socket.write(batch, () => this.#session?.onTransportWritable());
  }

  end(): void {
    this.flush();
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
