// One request on an HTTP/1.1 client connection as its owner sees it: the request's way out, and what is known of the
// response. What concerns the connection as a whole goes to its port.

import { H2Error } from '../h2/error.ts';
import type { Header } from '../h2/header.ts';
import type { Slab } from '../io/slab.ts';
import type { BodyWriter } from './body-writer.ts';
import type { HeadWriter } from './head-writer.ts';
import type { HttpStream, HttpStreamHandler } from './stream.ts';

/** What an exchange asks of its connection. */
export interface ClientPort {
  readonly body: BodyWriter;
  readonly writer: HeadWriter;
  /** The own direction is over. */
  requestEnded(exchange: ClientExchange): void;
  /** Ends the connection at once; nobody of this exchange is called any more. */
  cut(): void;
  /** The owner is done with data. */
  consumed(exchange: ClientExchange): void;
}

export class ClientExchange implements HttpStream {
  readonly id: number;
  user: unknown = undefined;
  readonly handler: HttpStreamHandler;
  readonly isHead: boolean;
  /** The protocol asked for, until the answer says whether it begins. */
  upgrade: string | undefined;
  /** The request: between head and end, or after it. An upgrade has no body; `raw` when it began. */
  request: 'open' | 'asking' | 'raw' | 'ended' = 'open';
  /** The response: before its final head, between head and end, after it. */
  response: 'none' | 'open' | 'ended' = 'none';
  /** Nothing is called any more, and calls do nothing. */
  gone = false;
  wasReset = false;
  /** Octets given to the owner and not consumed. */
  unconsumed = 0;
  /** Octets that may be unconsumed. */
  window: number;
  /** The owner was told that nothing may be sent. */
  starved = false;
  readonly #port: ClientPort;

  constructor(
    port: ClientPort,
    handler: HttpStreamHandler,
    options: {
      readonly id: number;
      readonly window: number;
      readonly isHead: boolean;
      readonly upgrade: string | undefined;
    },
  ) {
    this.#port = port;
    this.handler = handler;
    this.id = options.id;
    this.window = options.window;
    this.isHead = options.isHead;
    this.upgrade = options.upgrade;
    if (options.upgrade !== undefined) this.request = 'asking';
  }

  sendAllowance(): number {
    if (this.gone || (this.request !== 'open' && this.request !== 'raw')) {
      // Before the answer to an upgrade nothing may be sent; onWritable says when.
      if (this.request === 'asking') this.starved = true;
      return 0;
    }
    const allowance = this.#port.body.allowance();
    if (allowance === 0) this.starved = true;
    return allowance;
  }

  writeData(slab: Slab, offset: number, length: number, endStream: boolean): void {
    if (this.gone) return;
    if (this.request !== 'open' && this.request !== 'raw') throw misuse('writing data', this.request);
    this.#port.body.data(slab, offset, length);
    if (endStream) this.#end(undefined);
  }

  endData(): void {
    if (this.gone) return;
    if (this.request === 'asking') return this.#giveUpAsking();
    if (this.request === 'ended') throw misuse('ending', this.request);
    this.#end(undefined);
  }

  trailers(headers: readonly Header[]): void {
    if (this.gone) return;
    if (this.request === 'asking') return this.#giveUpAsking();
    if (this.request === 'ended') throw misuse('sending trailers', this.request);
    this.#end(headers);
  }

  respond(): void {
    throw misuse('responding', this.request);
  }

  consume(bytes: number): void {
    this.unconsumed -= Math.min(bytes, this.unconsumed);
    if (!this.gone) this.#port.consumed(this);
  }

  grow(bytes: number): void {
    this.window += bytes;
    if (!this.gone) this.#port.consumed(this);
  }

  reset(): void {
    if (this.wasReset) return;
    this.wasReset = true;
    if (this.gone) return;
    this.gone = true;
    this.#port.cut();
  }

  /** An owner that gives an upgrade up before the answer: the request is complete without it. */
  #giveUpAsking(): void {
    this.request = 'ended';
    this.#port.requestEnded(this);
  }

  #end(trailers: readonly Header[] | undefined): void {
    const raw = this.request === 'raw';
    this.request = 'ended';
    if (raw || this.#port.body.end(trailers, this.#port.writer)) return this.#port.requestEnded(this);
    // If something of the response is still to come, the loop tells that it never will.
    this.gone = this.response === 'ended';
    this.#port.cut();
  }
}

function misuse(what: string, state: string): H2Error {
  return new H2Error('INTERNAL_ERROR', `An HTTP/1.1 request: ${what} in state "${state}"`);
}
