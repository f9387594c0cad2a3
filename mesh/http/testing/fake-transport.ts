// A transport that remembers what was written and whose peer is the test. Strict: throws on what its contract forbids.

import { HEAD_ROOM, Slab } from '../../io/slab.ts';
import type { ByteSink, ByteTransport } from '../byte-transport.ts';
import type { FakeLoop } from './fake-loop.ts';

export class FakeTransport implements ByteTransport {
  /** Everything written, latin1. */
  written = '';
  state: 'open' | 'write-ended' | 'ended' | 'destroyed' | 'closed' = 'open';
  paused = false;
  /** Octets it takes before it is full. */
  roomLeft = 1 << 20;
  readonly #loop: FakeLoop;
  #sink: ByteSink | undefined;
  #inside = false;

  constructor(loop: FakeLoop) {
    this.#loop = loop;
  }

  attach(sink: ByteSink): void {
    this.#sink = sink;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  room(): number {
    return this.state === 'open' ? this.roomLeft : 0;
  }

  write(slab: Slab, offset: number, length: number): void {
    if (this.state !== 'open') return;
    if (length > this.roomLeft) throw new Error(`Wrote ${length} octets where ${this.roomLeft} had room`);
    if (offset < 0 || offset + length > slab.bytes.length)
      throw new Error('Wrote octets outside of the slab');
    this.roomLeft -= length;
    this.written += slab.bytes.toString('latin1', offset, offset + length);
  }

  flush(): void {}

  endWrite(): void {
    if (this.state === 'open') this.state = 'write-ended';
  }

  end(): void {
    if (this.state !== 'destroyed') this.state = 'ended';
  }

  destroy(): void {
    this.state = 'destroyed';
  }

  /** What was written since the last call. */
  take(): string {
    const { written } = this;
    this.written = '';
    return written;
  }

  /** The peer sends octets, `size` at a time; then the turn ends. A paused connection gets nothing: the test must see to that. */
  send(text: string, size: number = text.length): void {
    const octets = Buffer.from(text, 'latin1');
    for (let at = 0; at < octets.length; at += size) {
      if (this.paused) throw new Error('Octets for a connection that does not read');
      const length = Math.min(size, octets.length - at);
      // A slab of its own, overwritten afterwards: nobody may keep the octets.
      const slab = new Slab(HEAD_ROOM + length);
      octets.copy(slab.bytes, HEAD_ROOM, at, at + length);
      this.#call((sink) => sink.receive(slab, HEAD_ROOM, length));
      slab.bytes.fill(0x21);
    }
    this.#loop.endTurn();
  }

  /** The peer ends its direction. */
  sendEnd(): void {
    this.#call((sink) => sink.ended());
    this.#loop.endTurn();
  }

  /** There is room again. */
  makeRoom(octets: number): void {
    this.roomLeft += octets;
    this.#call((sink) => sink.onTransportWritable());
    this.#loop.endTurn();
  }

  /** The connection is lost, or has ended in order. */
  close(reason?: string): void {
    if (this.state === 'destroyed' || this.state === 'closed')
      throw new Error(`Closed a connection that is ${this.state}`);
    this.state = 'closed';
    this.#call((sink) => sink.closed(reason));
    this.#loop.endTurn();
  }

  #call(run: (sink: ByteSink) => void): void {
    if (this.#sink === undefined) throw new Error('Nothing is attached');
    if (this.#inside) throw new Error('The sink was called from inside a call');
    if (this.state === 'destroyed') return;
    this.#inside = true;
    try {
      run(this.#sink);
    } finally {
      this.#inside = false;
    }
  }
}
