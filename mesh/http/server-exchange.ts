// One request on an HTTP/1.1 server connection as its owner sees it: the response's way out, and what is known of the
// request. What concerns the connection as a whole goes to its port.

import { ErrorCode, H2Error } from '../h2/error.ts';
import type { Header } from '../h2/header.ts';
import type { Slab } from '../io/slab.ts';
import type { BodyWriter } from './body-writer.ts';
import { HeadWriter } from './head-writer.ts';
import type { HttpStream, HttpStreamHandler } from './stream.ts';

/** What an exchange asks of its connection. */
export interface ServerPort {
  readonly body: BodyWriter;
  /** Sends what the writer holds. */
  sendHead(writer: HeadWriter): void;
  /** Whether the connection ends after a response that begins now. */
  willClose(exchange: ServerExchange): boolean;
  /** The response will not say where it ends but by the connection's end. */
  closeAfter(): void;
  /** A 101 was sent. */
  upgraded(exchange: ServerExchange): void;
  /** A final response other than 101 to a request for an upgrade. */
  upgradeDeclined(exchange: ServerExchange): void;
  /** The own direction is over. */
  responseEnded(exchange: ServerExchange): void;
  /** The rest of the request is not wanted. */
  discardRest(exchange: ServerExchange): void;
  /** Ends the connection at once; nobody of this exchange is called any more. */
  cut(): void;
  /** The owner is done with data. */
  consumed(exchange: ServerExchange): void;
}

export interface RequestFacts {
  readonly minorVersion: 0 | 1;
  readonly isHead: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: string | undefined;
  readonly expectsContinue: boolean;
}

const writer = new HeadWriter();

export class ServerExchange implements HttpStream {
  readonly id: number;
  user: unknown = undefined;
  handler: HttpStreamHandler | undefined;
  readonly minorVersion: 0 | 1;
  /** The client will go on using the connection. */
  readonly keepAlive: boolean;
  readonly upgrade: string | undefined;
  /** The client waits for a 100, as far as we know. */
  awaitsContinue: boolean;
  /** The response: before its final head, between head and end, after it. */
  response: 'none' | 'open' | 'ended' = 'none';
  requestEnded = false;
  /** Nothing is called any more, and calls do nothing. */
  gone = false;
  /** By its owner, who is called no more. */
  wasReset = false;
  /** Octets given to the owner and not consumed. */
  unconsumed = 0;
  /** Octets that may be unconsumed. */
  window: number;
  /** The owner was told that nothing may be sent. */
  starved = false;
  readonly #isHead: boolean;
  readonly #port: ServerPort;

  constructor(port: ServerPort, id: number, request: RequestFacts, window: number) {
    this.#port = port;
    this.id = id;
    this.window = window;
    this.minorVersion = request.minorVersion;
    this.keepAlive = request.keepAlive;
    this.upgrade = request.upgrade;
    this.awaitsContinue = request.expectsContinue;
    this.#isHead = request.isHead;
  }

  sendAllowance(): number {
    if (this.gone || this.response !== 'open') return 0;
    const allowance = this.#port.body.allowance();
    if (allowance === 0) this.starved = true;
    return allowance;
  }

  writeData(slab: Slab, offset: number, length: number, endStream: boolean): void {
    if (this.gone) return;
    if (this.response !== 'open') throw misuse('writing data', this.response);
    this.#port.body.data(slab, offset, length);
    if (endStream) this.#end(undefined);
  }

  endData(): void {
    if (this.gone) return;
    if (this.response !== 'open') throw misuse('ending', this.response);
    this.#end(undefined);
  }

  trailers(headers: readonly Header[]): void {
    if (this.gone) return;
    if (this.response !== 'open') throw misuse('sending trailers', this.response);
    this.#end(headers);
  }

  respond(headers: readonly Header[], endStream: boolean): void {
    if (this.gone) return;
    if (this.response !== 'none') throw misuse('responding', this.response);
    const status = Number(headers[0]?.[1]);
    if (status >= 100 && status < 200 && (status !== 101 || this.upgrade === undefined)) {
      return this.#inform(headers, status, endStream);
    }
    const close = this.#port.willClose(this);
    writer.response(headers, endStream, { minorVersion: this.minorVersion, head: this.#isHead, close });
    if (writer.framing === 'close') this.#port.closeAfter();
    this.response = 'open';
    this.#port.body.begin(writer.framing, writer.contentLength);
    this.#port.sendHead(writer);
    if (this.#isGone()) return;
    if (writer.framing === 'raw') this.#port.upgraded(this);
    else if (this.upgrade !== undefined) this.#port.upgradeDeclined(this);
    if (endStream) this.#end(undefined);
  }

  consume(bytes: number): void {
    this.unconsumed -= Math.min(bytes, this.unconsumed);
    if (!this.gone) this.#port.consumed(this);
  }

  grow(bytes: number): void {
    this.window += bytes;
    if (!this.gone) this.#port.consumed(this);
  }

  reset(code: number): void {
    if (this.wasReset) return;
    this.wasReset = true;
    if (this.gone) return;
    this.gone = true;
    if (code === ErrorCode.NO_ERROR && this.response === 'ended') this.#port.discardRest(this);
    else this.#port.cut();
  }

  // A method, so that the compiler does not take an earlier check for still true after a call.
  #isGone(): boolean {
    return this.gone;
  }

  #inform(headers: readonly Header[], status: number, endStream: boolean): void {
    if (endStream || status === 101) throw misuse(`responding ${status}`, this.response);
    if (status === 100) this.awaitsContinue = false;
    // RFC 9110 section 15.2: HTTP/1.0 has no 1xx.
    if (this.minorVersion === 0) return;
    writer.response(headers, false, { minorVersion: 1, head: false, close: false });
    this.#port.sendHead(writer);
  }

  #end(trailers: readonly Header[] | undefined): void {
    this.response = 'ended';
    if (this.#port.body.end(trailers, writer)) return this.#port.responseEnded(this);
    // If something of the request is still to come, the loop tells that it never will.
    this.gone = this.requestEnded;
    this.#port.cut();
  }
}

function misuse(what: string, state: string): H2Error {
  return new H2Error('INTERNAL_ERROR', `An HTTP/1.1 response: ${what} in state "${state}"`);
}
