// A data worker's end of a self-probe: reads the number, answers, closes. Anybody in the pod may come here, so it holds
// nothing for longer than two seconds, sends a line at most and is no connection of the access log or the metrics.

import { type IoHandler, READABLE, type Reactor } from '../mesh/io/reactor.ts';
import { Slab } from '../mesh/io/slab.ts';
import { type TcpStream, WOULD_BLOCK } from '../mesh/io/tcp-stream.ts';
import type { Timer } from '../mesh/runtime/clock.ts';
import { maxAnswerBytes, nonceBytes } from './self-probe-proof.ts';

const timeoutMs = 2_000;
/** Used within one call only. */
const scratch = new Slab(maxAnswerBytes);

export interface SelfProbeAnswerOptions {
  /** The answer to a number of `nonceBytes` bytes, in ASCII. */
  readonly proof: (nonce: Uint8Array) => string;
  /** The connection is closed. */
  readonly onEnd: () => void;
}

export class SelfProbeAnswer implements IoHandler {
  readonly #reactor: Reactor;
  readonly #stream: TcpStream;
  readonly #options: SelfProbeAnswerOptions;
  readonly #timer: Timer;

  /** Takes ownership of `stream`. */
  constructor(reactor: Reactor, stream: TcpStream, options: SelfProbeAnswerOptions) {
    this.#reactor = reactor;
    this.#stream = stream;
    this.#options = options;
    this.#timer = reactor.after(timeoutMs, () => this.#end());
    stream.watch(reactor, this);
  }

  onReady(events: number): void {
    if (!this.#stream.open || (events & READABLE) === 0) return;
    // The number is sent in one piece, with the connection itself.
    const count = this.#stream.read(scratch, 0, nonceBytes);
    if (count === WOULD_BLOCK) return;
    if (count === nonceBytes) {
      const answer = this.#options.proof(scratch.bytes.subarray(0, nonceBytes));
      this.#stream.write(scratch, 0, scratch.bytes.write(answer, 'latin1'));
    }
    this.#end();
  }

  #end(): void {
    if (!this.#stream.open) return;
    this.#timer.cancel();
    this.#reactor.forget(this.#stream.fd);
    this.#stream.close();
    this.#options.onEnd();
  }
}
