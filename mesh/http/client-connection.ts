// An HTTP/1.1 client connection without I/O: one request at a time, reused as long as both sides are surely at the end
// of a message. Invariant: no octet that came before a request was made is ever read as its response.

import { ErrorCode } from '../h2/error.ts';
import { type Header, headerValue } from '../h2/header.ts';
import type { TurnTask } from '../io/reactor.ts';
import type { Slab } from '../io/slab.ts';
import { BodyReader } from './body-reader.ts';
import { BodyWriter } from './body-writer.ts';
import type { ByteSink, ByteTransport } from './byte-transport.ts';
import { ClientExchange, type ClientPort } from './client-exchange.ts';
import type { HttpClientConnection, HttpClientHandler } from './connection.ts';
import type { InputBudget } from './head-gatherer.ts';
import { HeadIntake } from './head-intake.ts';
import { HeadWriter } from './head-writer.ts';
import { defaultHttp1Settings, type Http1Loop, type Http1Settings } from './http1-settings.ts';
import type { HttpFault } from './http-error.ts';
import { Outbox } from './outbox.ts';
import { type ResponseHeadOptions, ResponseHeadReader } from './response-head.ts';
import type { HttpStream, HttpStreamHandler, HttpVersion } from './stream.ts';

export interface Http1ClientOptions {
  readonly handler: HttpClientHandler;
  /** For unfinished heads; one a worker. */
  readonly budget: InputBudget;
  readonly settings?: Partial<Http1Settings>;
}

/** What arriving octets are. */
type Input =
  | 'idle' // nobody asked for them
  | 'head'
  | 'body'
  | 'raw' // behind a 101
  | 'none'; // nothing is read any more

// Shared by the connections of the thread: what they hold is used before anybody else is called.
const head = new ResponseHeadReader();
const sharedWriter = new HeadWriter();

export class Http1ClientConnection implements HttpClientConnection, ByteSink, TurnTask, ClientPort {
  readonly version: HttpVersion = '1.1';
  readonly body: BodyWriter;
  readonly writer = sharedWriter;
  readonly #loop: Http1Loop;
  readonly #transport: ByteTransport;
  readonly #outbox: Outbox;
  readonly #handler: HttpClientHandler;
  readonly #settings: Http1Settings;
  readonly #heads: HeadIntake<ResponseHeadOptions>;
  readonly #reader: BodyReader;
  #input: Input = 'idle';
  #exchange: ClientExchange | undefined;
  #nextId = 1;
  /** Something of the response came. */
  #answering = false;
  #informational = 0;
  /** The connection is not to be used again. */
  #retired = false;
  #finished = false;
  #paused = false;
  #processing = false;
  #tellAvailable = false;
  #armed = false;
  #state: 'open' | 'cut' | 'closed' = 'open';

  /** Attaches itself to `transport`, which is connected. */
  constructor(loop: Http1Loop, transport: ByteTransport, options: Http1ClientOptions) {
    this.#loop = loop;
    this.#transport = transport;
    this.#handler = options.handler;
    this.#settings = { ...defaultHttp1Settings, ...options.settings };
    this.#outbox = new Outbox(transport);
    this.body = new BodyWriter(this.#outbox);
    this.#heads = new HeadIntake(head, {
      what: 'response',
      limits: this.#settings,
      budget: options.budget,
      options: { maxFields: this.#settings.maxFields },
    });
    this.#reader = new BodyReader(this.#settings, options.budget);
    transport.attach(this);
  }

  get canOpen(): boolean {
    return this.#input === 'idle' && this.#exchange === undefined && !this.#retired;
  }

  get openStreams(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  request(
    headers: readonly Header[],
    endStream: boolean,
    handler: HttpStreamHandler,
  ): HttpStream | undefined {
    if (!this.canOpen) return undefined;
    const upgrade = headerValue(headers, ':upgrade')?.toLowerCase();
    // May throw: nothing of the request exists until it has succeeded.
    sharedWriter.request(headers, endStream);
    const exchange = new ClientExchange(this, handler, {
      id: this.#nextId,
      window: this.#settings.bodyWindow,
      isHead: headerValue(headers, ':method') === 'HEAD',
      upgrade,
    });
    this.#nextId += 2;
    this.#exchange = exchange;
    this.#input = 'head';
    this.#answering = false;
    this.#informational = 0;
    this.body.begin(sharedWriter.framing, sharedWriter.contentLength);
    if (!this.#outbox.control(sharedWriter.slab, 0, sharedWriter.length)) this.cut();
    if (endStream) exchange.request = 'ended';
    return exchange;
  }

  drain(): void {
    this.#retire();
    if (this.#exchange === undefined) this.#finish();
  }

  destroy(): void {
    if (this.#state !== 'open') return;
    this.#transport.destroy();
    this.#lost(ErrorCode.CONNECT_ERROR, undefined);
  }

  // ByteSink

  receive(slab: Slab, offset: number, length: number): void {
    const end = offset + length;
    let at = offset;
    this.#processing = true;
    try {
      while (at < end && this.#input !== 'none') at = this.#step(slab, at, end);
    } catch (error) {
      // Where it stands in the stream of octets is not known any more.
      this.destroy();
      throw error;
    } finally {
      this.#processing = false;
    }
    if (this.#tellAvailable) this.#available();
  }

  ended(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.response === 'ended') {
      this.#retire();
      if (exchange === undefined) this.#finish();
    } else if (
      this.#input === 'raw' ||
      (this.#input === 'body' && this.#reader.left === Number.POSITIVE_INFINITY && !this.#reader.chunked)
    ) {
      this.#endResponse(exchange, false);
    } else {
      this.#transport.destroy();
      this.#lost(this.#lostCode(), 'the server closed the connection before the end of its response');
    }
  }

  onTransportWritable(): void {
    if (this.#state !== 'open' || !this.#outbox.drain()) return;
    const exchange = this.#exchange;
    if (exchange?.starved !== true || exchange.gone || exchange.request === 'ended') return;
    if (exchange.request === 'asking') return;
    exchange.starved = false;
    exchange.handler.onWritable();
  }

  closed(reason: string | undefined): void {
    if (this.#state === 'open') this.#lost(this.#lostCode(), reason);
  }

  // TurnTask

  onTurnEnd(): void {
    this.#armed = false;
    if (this.#state === 'cut') return this.#lost(ErrorCode.CONNECT_ERROR, undefined);
    if (this.#state === 'open' && this.#tellAvailable) this.#available();
  }

  // Input

  #step(slab: Slab, at: number, end: number): number {
    this.#answering = true;
    switch (this.#input) {
      case 'head':
        return this.#readHead(slab.bytes, at, end);
      case 'body':
        return this.#readBody(slab, at, end);
      case 'raw':
        this.#deliver(this.#exchange as ClientExchange, slab, { start: at, end });
        return end;
      default:
        this.#unasked();
        return end;
    }
  }

  /** Octets that belong to no request: the next response would be anybody's guess. */
  #unasked(): void {
    this.#retire();
    if (this.#exchange !== undefined) {
      // The response is over, only the request is not.
      this.#input = 'none';
      return;
    }
    this.#transport.destroy();
    this.#lost(ErrorCode.PROTOCOL_ERROR, 'the server sent octets that belong to no request');
  }

  #readHead(bytes: Buffer, at: number, end: number): number {
    const heads = this.#heads;
    const outcome = heads.read(bytes, at, end);
    const { next } = heads;
    if (outcome === 'read') this.#headRead(next < end);
    else if (outcome !== 'more') this.#bad(outcome);
    return next;
  }

  /** @param more further octets are there already. */
  #headRead(more: boolean): void {
    const exchange = this.#exchange as ClientExchange;
    const { status } = head;
    if (status === 101) return this.#upgraded(exchange);
    if (status < 200) {
      if (++this.#informational > this.#settings.maxInformational) {
        return this.#bad({ status: 431, reason: 'too many informational responses' });
      }
      return exchange.handler.onHeaders?.(withoutLength(head.list), false);
    }
    this.#final(exchange, more);
  }

  /** RFC 9112 section 6.3: whether there is a body, and how it ends. */
  #final(exchange: ClientExchange, more: boolean): void {
    const { status, chunked, contentLength } = head;
    let { list } = head;
    let left = contentLength;
    if (exchange.isHead || status === 304) {
      left = 0;
    } else if (status === 204) {
      list = withoutLength(list);
      // A server that announces a body here may well send it.
      if (chunked || contentLength > 0) this.#retire();
      left = 0;
    } else if (chunked) {
      left = 1;
    } else if (contentLength === -1) {
      left = Number.POSITIVE_INFINITY;
    }
    if (!head.keepAlive || left === Number.POSITIVE_INFINITY) this.#retire();
    exchange.upgrade = undefined;
    if (exchange.request === 'asking') exchange.request = 'ended';
    exchange.response = 'open';
    this.#input = 'body';
    this.#reader.begin(chunked && left > 0, left);
    exchange.handler.onHeaders?.(list, left === 0);
    if (left === 0 && this.#exchange === exchange && !exchange.gone) this.#endResponse(exchange, more);
  }

  #upgraded(exchange: ClientExchange): void {
    if (exchange.upgrade === undefined || head.upgrade !== exchange.upgrade) {
      return this.#bad({ status: 502, reason: '101 to a request that did not ask for that protocol' });
    }
    this.#retire();
    exchange.response = 'open';
    this.#input = 'raw';
    this.body.begin('raw', 0);
    if (exchange.request === 'asking') exchange.request = 'raw';
    else this.#outbox.finish('endWrite');
    exchange.handler.onHeaders?.(head.list, false);
    if (exchange.starved && !exchange.gone && exchange.request === 'raw') {
      exchange.starved = false;
      exchange.handler.onWritable();
    }
  }

  #readBody(slab: Slab, at: number, end: number): number {
    const reader = this.#reader;
    const exchange = this.#exchange as ClientExchange;
    const outcome = reader.next(slab.bytes, at, end);
    if (outcome === 'more') return end;
    if (outcome === 'fault') {
      this.#bad(reader.fault);
      return end;
    }
    const next = reader.dataEnd;
    if (outcome === 'data') {
      this.#deliver(exchange, slab, { start: reader.dataStart, end: next });
      if (!reader.complete) return next;
    }
    if (this.#exchange === exchange && !exchange.gone) this.#endResponse(exchange, next < end);
    return next;
  }

  #deliver(
    exchange: ClientExchange,
    slab: Slab,
    span: { readonly start: number; readonly end: number },
  ): void {
    const length = span.end - span.start;
    exchange.unconsumed += length;
    if (exchange.unconsumed > exchange.window && !this.#paused) {
      this.#paused = true;
      this.#transport.pause();
    }
    exchange.handler.onData(slab, span.start, length);
  }

  /** @param more octets follow that belong to no request: before anybody can make one the connection is retired. */
  #endResponse(exchange: ClientExchange, more: boolean): void {
    if (more) this.#retire();
    const { trailers } = this.#reader;
    const { handler } = exchange;
    if (this.#input === 'body' && trailers.length > 0) {
      handler.onHeaders?.(trailers, true);
      if (this.#exchange !== exchange || exchange.gone) return;
    }
    exchange.response = 'ended';
    this.#input = 'idle';
    this.#unpause();
    if (exchange.request === 'ended') this.#done(exchange);
    if (!exchange.wasReset) handler.onEnd();
  }

  #bad(why: HttpFault): void {
    this.#transport.destroy();
    const code =
      why.status === 431 || why.status === 414 ? ErrorCode.ENHANCE_YOUR_CALM : ErrorCode.PROTOCOL_ERROR;
    this.#lost(code, why.reason);
  }

  // ClientPort

  requestEnded(exchange: ClientExchange): void {
    if (this.#input === 'raw') this.#outbox.finish('endWrite');
    if (exchange.response === 'ended') this.#done(exchange);
  }

  cut(): void {
    if (this.#state !== 'open') return;
    this.#state = 'cut';
    this.#input = 'none';
    this.#transport.destroy();
    this.#arm();
  }

  consumed(exchange: ClientExchange): void {
    if (exchange.unconsumed * 2 <= exchange.window) this.#unpause();
  }

  // Ends

  #unpause(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#transport.resume();
  }

  /** Request and response are over. */
  #done(exchange: ClientExchange): void {
    exchange.gone = true;
    this.#exchange = undefined;
    if (this.#retired) return this.#finish();
    this.#tellAvailable = true;
    if (!this.#processing) this.#arm();
  }

  #available(): void {
    this.#tellAvailable = false;
    if (this.canOpen) this.#handler.onAvailable();
  }

  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#handler.onRetired();
  }

  /** Nothing more is read; the connection ends. */
  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#input = 'none';
    this.#outbox.finish('end');
  }

  #lostCode(): number {
    return this.#answering ? ErrorCode.STREAM_CLOSED : ErrorCode.CONNECT_ERROR;
  }

  #lost(code: number, reason: string | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#input = 'none';
    this.#heads.clear();
    this.#reader.close();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#retire();
    if (exchange?.gone === false) {
      exchange.gone = true;
      exchange.handler.onReset(code);
    }
    this.#handler.onClosed(reason);
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#loop.atTurnEnd(this);
  }
}

/** RFC 9110 section 8.6: 1xx and 204 have no length. */
function withoutLength(list: Header[]): Header[] {
  return list.filter(([name]) => name !== 'content-length');
}
