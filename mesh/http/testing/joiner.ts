// The smallest proxy there is: joins each request of a server connection with one on a new client connection. For tests
// that want both ends with real peers; policies, pools and retries are the waypoint's.

import { BufferBudget, ByteQueue } from '../../io/byte-queue.ts';
import type { Slab } from '../../io/slab.ts';
import { ErrorCode } from '../../h2/error.ts';
import type { Header } from '../../h2/header.ts';
import type { HttpClientConnection } from '../connection.ts';
import type { HttpStream, HttpStreamHandler } from '../stream.ts';

export const joinerBudget = new BufferBudget(64 << 20);

/** One direction: what came from one stream waits for room on the other. */
class Pipe {
  readonly #queue = new ByteQueue(joinerBudget);
  #ended = false;
  #trailers: readonly Header[] | undefined;
  readonly #from: () => HttpStream;
  readonly #to: () => HttpStream;

  constructor(from: () => HttpStream, to: () => HttpStream) {
    this.#from = from;
    this.#to = to;
  }

  data(slab: Slab, offset: number, length: number): void {
    const taken = this.#queue.size > 0 ? 0 : this.#write(slab, offset, length);
    if (taken < length && !this.#queue.push(slab, offset + taken, length - taken))
      throw new Error('Out of budget');
    if (taken > 0) this.#from().consume(taken);
  }

  end(trailers: readonly Header[] | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    this.#finish();
  }

  resume(): void {
    const taken = this.#queue.drainTo({ write: (slab, offset, length) => this.#write(slab, offset, length) });
    if (taken > 0) this.#from().consume(taken);
    this.#finish();
  }

  drop(): void {
    this.#queue.clear();
  }

  #write(slab: Slab, offset: number, length: number): number {
    let taken = 0;
    while (taken < length) {
      const count = Math.min(length - taken, this.#to().sendAllowance());
      if (count === 0) break;
      this.#to().writeData(slab, offset + taken, count, false);
      taken += count;
    }
    return taken;
  }

  #finish(): void {
    if (!this.#ended || this.#queue.size > 0) return;
    this.#ended = false;
    if (this.#trailers === undefined) this.#to().endData();
    else this.#to().trailers(this.#trailers);
  }
}

export class Join {
  readonly downstream: HttpStreamHandler;
  readonly upstream: HttpStreamHandler;
  #up!: HttpStream;
  #trailers: readonly Header[] | undefined;
  #headDone = false;

  constructor(
    down: HttpStream,
    request: { readonly headers: readonly Header[]; readonly endStream: boolean },
    connection: HttpClientConnection,
  ) {
    const toUp = new Pipe(
      () => down,
      () => this.#up,
    );
    const toDown = new Pipe(
      () => this.#up,
      () => down,
    );
    let requestTrailers: readonly Header[] | undefined;
    this.downstream = {
      onHeaders: (headers) => {
        requestTrailers = headers;
      },
      onData: (slab, offset, length) => toUp.data(slab, offset, length),
      onEnd: () => {
        if (!request.endStream) toUp.end(requestTrailers);
      },
      onReset: () => {
        toUp.drop();
        toDown.drop();
        this.#up.reset(ErrorCode.CANCEL);
      },
      onWritable: () => toDown.resume(),
    };
    this.upstream = {
      onHeaders: (headers, endStream) => {
        if (this.#headDone) {
          this.#trailers = headers;
          return;
        }
        const status = Number(headers[0]?.[1]);
        this.#headDone = status >= 200 || status === 101;
        down.respond(headers, endStream);
        this.#answered = endStream;
      },
      onData: (slab, offset, length) => toDown.data(slab, offset, length),
      onEnd: () => {
        if (!this.#answered) toDown.end(this.#trailers);
      },
      onReset: () => {
        toUp.drop();
        toDown.drop();
        if (this.#headDone) down.reset(ErrorCode.INTERNAL_ERROR);
        else down.respond([[':status', '502']], true);
      },
      onWritable: () => toUp.resume(),
    };
    const stream = connection.request(request.headers, request.endStream, this.upstream);
    if (stream === undefined) throw new Error('The upstream takes no request');
    this.#up = stream;
  }

  #answered = false;
}
