// The first bytes of a client's connection: what it speaks. HTTP is told by how it begins; a client that says nothing
// waits for the server to speak first, which no HTTP client does. Hands the connection over with what has come so far.

import type { ByteSink, ByteTransport } from '../../../mesh/http/byte-transport.ts';
import { sniffProtocol } from '../../../mesh/http/protocol-sniff.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import { HEAD_ROOM, Slab } from '../../../mesh/io/slab.ts';
import type { Timer } from '../../../mesh/runtime/clock.ts';

export type DetectedProtocol = 'http1' | 'http2' | 'tcp';

export interface DetectOptions {
  /** `http`: whatever does not look like HTTP/2 is HTTP/1.1; `any`: it may also be something else. */
  readonly expect: 'http' | 'any';
  /** For the first bytes of `any`, then it is TCP; for `http`, then it is given up. ms */
  readonly silenceMs: number;
  /** Attaches a sink of its own to the transport and returns it; it gets what has come so far. */
  readonly onDetected: (protocol: DetectedProtocol) => ByteSink;
  /** Gone before it was known, or given up after being silent for `silentMs`. */
  readonly onGone: (silentMs?: number) => void;
}

/** The preface of HTTP/2 has 24 octets; a method name that we take for HTTP/1.1 has at most as many. */
const maxSniffed = 64;

export class DetectingSink implements ByteSink {
  #transport: ByteTransport;
  #options: DetectOptions;
  #timer: Timer | undefined;
  /** First bytes, when they came in pieces. */
  #slab: Slab | undefined;
  #length = 0;
  #done = false;

  /** Attaches itself to the transport. */
  constructor(reactor: Reactor, transport: ByteTransport, options: DetectOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#timer = reactor.after(options.silenceMs, () => {
      this.#silent(options.silenceMs);
    });
    transport.attach(this);
  }

  receive(slab: Slab, offset: number, length: number): void {
    if (this.#done) return;
    if (this.#slab === undefined && length <= maxSniffed) {
      const verdict = sniffProtocol(slab.bytes, offset, length);
      if (verdict === 'need-more') return this.#keep(slab, offset, length);
      this.#detected(verdict, { slab, offset, length });
      return;
    }
    if (this.#slab === undefined) return this.#decide(slab, offset, length);
    this.#gather(this.#slab, { slab, offset, length });
  }

  ended(): void {
    this.#silent()?.ended();
  }

  onTransportWritable(): void {}

  closed(): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.cancel();
    this.#options.onGone();
  }

  #decide(slab: Slab, offset: number, length: number): void {
    const verdict = sniffProtocol(slab.bytes, offset, length);
    this.#detected(verdict === 'need-more' ? 'other' : verdict, { slab, offset, length });
  }

  #keep(slab: Slab, offset: number, length: number): void {
    const kept = new Slab(HEAD_ROOM + maxSniffed);
    slab.bytes.copy(kept.bytes, HEAD_ROOM, offset, offset + length);
    this.#slab = kept;
    this.#length = length;
  }

  /** Pieces: enough of them to tell, then all there is. */
  #gather(kept: Slab, piece: { slab: Slab; offset: number; length: number }): void {
    const { slab, offset, length } = piece;
    const taken = Math.min(length, maxSniffed - this.#length);
    slab.bytes.copy(kept.bytes, HEAD_ROOM + this.#length, offset, offset + taken);
    this.#length += taken;
    const verdict = sniffProtocol(kept.bytes, HEAD_ROOM, this.#length);
    if (verdict === 'need-more' && this.#length < maxSniffed) return;
    const sink = this.#detected(verdict === 'need-more' ? 'other' : verdict, {
      slab: kept,
      offset: HEAD_ROOM,
      length: this.#length,
    });
    if (taken < length) sink?.receive(slab, offset + taken, length - taken);
  }

  /** Says nothing, or no more: with half a method name it is no HTTP. */
  #silent(silentMs?: number): ByteSink | undefined {
    if (this.#done) return undefined;
    if (this.#options.expect === 'http') {
      this.#done = true;
      this.#timer?.cancel();
      this.#transport.end();
      this.#options.onGone(silentMs);
      return undefined;
    }
    const kept = this.#slab;
    return this.#detected(
      'other',
      kept === undefined ? undefined : { slab: kept, offset: HEAD_ROOM, length: this.#length },
    );
  }

  #detected(
    verdict: 'h2' | 'http1' | 'other',
    first: { readonly slab: Slab; readonly offset: number; readonly length: number } | undefined,
  ): ByteSink | undefined {
    this.#done = true;
    this.#timer?.cancel();
    const other = this.#options.expect === 'http' ? 'http1' : 'tcp';
    const sink = this.#options.onDetected(verdict === 'h2' ? 'http2' : verdict === 'http1' ? 'http1' : other);
    if (first !== undefined) sink.receive(first.slab, first.offset, first.length);
    return sink;
  }
}
