// An HTTP/1.1 server connection without I/O: requests one after the other, answers in their order. Owns the connection's
// life: keep-alive, pipelining, upgrades, timeouts, the end. Invariant: at most one request is under way; octets behind it
// wait, bounded; what is not surely the next request's first octet is never read as one.

import { ErrorCode } from '../h2/error.ts';
import type { TurnTask } from '../io/reactor.ts';
import type { Slab } from '../io/slab.ts';
import type { Timer } from '../runtime/clock.ts';
import { BodyReader } from './body-reader.ts';
import { BodyWriter } from './body-writer.ts';
import type { ByteSink, ByteTransport } from './byte-transport.ts';
import type { HttpServerConnection, HttpServerHandler } from './connection.ts';
import type { InputBudget } from './head-gatherer.ts';
import { HeadIntake } from './head-intake.ts';
import { HeadWriter } from './head-writer.ts';
import { HeldOctets } from './held-octets.ts';
import { defaultHttp1Settings, type Http1Loop, type Http1Settings } from './http1-settings.ts';
import type { HttpFault } from './http-error.ts';
import { IdleWatch } from './idle-watch.ts';
import { Outbox } from './outbox.ts';
import { ReadPause } from './read-pause.ts';
import { type RequestHeadOptions, RequestHeadReader } from './request-head.ts';
import { ServerExchange, type ServerPort } from './server-exchange.ts';
import type { HttpVersion } from './stream.ts';

export interface Http1ServerOptions {
  /** What :scheme says of requests that do not say it themselves. */
  readonly scheme: 'http' | 'https';
  readonly handler: HttpServerHandler;
  /** For unfinished heads and waiting requests; one a worker. */
  readonly budget: InputBudget;
  readonly settings?: Partial<Http1Settings>;
}

/** What arriving octets are. */
type Input =
  | 'head'
  | 'body'
  | 'discard' // of a request nobody wants the rest of
  | 'wait' // behind a request that is not answered yet
  | 'raw' // behind a 101
  | 'none'; // nothing is read any more

const PAUSED_BY_WINDOW = 1;
const PAUSED_BY_HELD = 2;

// Shared by the connections of the thread: what they hold is used before anybody else is called.
const head = new RequestHeadReader();
const refusal = new HeadWriter();

export class Http1ServerConnection implements HttpServerConnection, ByteSink, TurnTask, ServerPort {
  readonly body: BodyWriter;
  readonly #loop: Http1Loop;
  readonly #transport: ByteTransport;
  readonly #outbox: Outbox;
  readonly #handler: HttpServerHandler;
  readonly #settings: Http1Settings;
  readonly #heads: HeadIntake<RequestHeadOptions>;
  readonly #reader: BodyReader;
  readonly #held: HeldOctets;
  readonly #idle: IdleWatch;
  readonly #pause: ReadPause;
  #input: Input = 'head';
  #exchange: ServerExchange | undefined;
  #nextId = 1;
  #minorVersion: 0 | 1 = 1;
  #discarded = 0;
  #closeAfter = false;
  /** Octets behind the request under way were thrown away. */
  #dropping = false;
  #draining = false;
  #peerEnded = false;
  #processing = false;
  #armed = false;
  /** The end of a declined upgrade's request is to be told. */
  #tellEnd: ServerExchange | undefined;
  #state: 'open' | 'cut' | 'closed' = 'open';
  #headTimer: Timer | undefined;
  #drainTimer: Timer | undefined;

  /** Attaches itself to `transport`. Octets that were read before may be given to `receive` right after. */
  constructor(loop: Http1Loop, transport: ByteTransport, options: Http1ServerOptions) {
    this.#loop = loop;
    this.#transport = transport;
    this.#handler = options.handler;
    this.#settings = { ...defaultHttp1Settings, ...options.settings };
    this.#outbox = new Outbox(transport);
    this.body = new BodyWriter(this.#outbox);
    this.#heads = new HeadIntake(head, {
      what: 'request',
      limits: this.#settings,
      budget: options.budget,
      options: { scheme: options.scheme, maxFields: this.#settings.maxFields },
    });
    this.#pause = new ReadPause(transport);
    this.#reader = new BodyReader(this.#settings, options.budget);
    this.#held = new HeldOctets(options.budget, this.#settings.maxHeldBytes);
    this.#idle = new IdleWatch(loop, {
      timeoutMs: this.#settings.idleTimeoutMs,
      idle: () => this.#input === 'none' || (this.#input === 'head' && !this.#heads.unfinished),
      expired: () => this.#idleTooLong(),
    });
    transport.attach(this);
  }

  get version(): HttpVersion {
    return this.#minorVersion === 1 ? '1.1' : '1.0';
  }

  get openStreams(): number {
    return this.#exchange === undefined || this.#exchange.gone ? 0 : 1;
  }

  /**
   * The next response says `connection: close` and is the last one. HTTP/1.1 has no other way to tell a client, so one that
   * is idle gets a moment in which a request it has sent meanwhile is still answered.
   */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#endIfStillIdle();
  }

  destroy(): void {
    if (this.#state !== 'open') return;
    this.#transport.destroy();
    this.#lost(ErrorCode.CONNECT_ERROR, undefined);
  }

  // ByteSink

  receive(slab: Slab, offset: number, length: number): void {
    if (this.#dropping) return;
    if (this.#held.slab !== undefined) this.#hold(slab, offset, offset + length);
    else this.#process(slab, offset, offset + length);
  }

  ended(): void {
    this.#peerEnded = true;
    const exchange = this.#exchange;
    if (this.#input === 'raw' && exchange !== undefined) return this.#rawEnded(exchange);
    if (exchange === undefined || exchange.gone) {
      if (this.#held.slab === undefined) this.#finish();
      return;
    }
    // An end in the middle of a request, or of a client that had not announced it, is how HTTP/1.1 cancels.
    if (exchange.requestEnded && !exchange.keepAlive) return;
    this.#transport.destroy();
    this.#lost(ErrorCode.CANCEL, 'the client closed the connection during a request');
  }

  onTransportWritable(): void {
    if (this.#state !== 'open' || !this.#outbox.drain()) return;
    const exchange = this.#exchange;
    if (exchange?.starved === true && !exchange.gone && exchange.response === 'open') {
      exchange.starved = false;
      exchange.handler?.onWritable();
    }
    this.#processHeld();
  }

  closed(reason: string | undefined): void {
    if (this.#state === 'open') this.#lost(ErrorCode.CONNECT_ERROR, reason);
  }

  // TurnTask

  onTurnEnd(): void {
    this.#armed = false;
    if (this.#state === 'closed') return;
    if (this.#state === 'cut') return this.#lost(ErrorCode.CONNECT_ERROR, undefined);
    const exchange = this.#tellEnd;
    this.#tellEnd = undefined;
    if (exchange?.wasReset === false) exchange.handler?.onEnd();
    this.#processHeld();
  }

  // Input

  #process(slab: Slab, start: number, end: number): void {
    let at = start;
    this.#processing = true;
    try {
      while (at < end && this.#input !== 'none') {
        if (this.#input === 'wait' || (this.#input === 'head' && this.#outbox.blocked)) {
          this.#hold(slab, at, end);
          return;
        }
        at = this.#step(slab, at, end);
      }
    } catch (error) {
      // Where it stands in the stream of octets is not known any more.
      this.destroy();
      throw error;
    } finally {
      this.#processing = false;
    }
    if (slab !== this.#held.slab) return;
    this.#release();
    if (this.#peerEnded && this.#input === 'head') this.#finish();
  }

  #step(slab: Slab, at: number, end: number): number {
    if (this.#input === 'head') return this.#readHead(slab.bytes, at, end);
    if (this.#input === 'raw') {
      this.#deliver(this.#exchange as ServerExchange, slab, { start: at, end });
      return end;
    }
    return this.#readBody(slab, at, end);
  }

  #readHead(bytes: Buffer, at: number, end: number): number {
    const heads = this.#heads;
    const outcome = heads.read(bytes, at, end);
    const { next } = heads;
    if (outcome === 'more') {
      if (heads.unfinished) {
        this.#headTimer ??= this.#loop.after(this.#settings.headTimeoutMs, () => this.#headTimedOut());
      }
      return next;
    }
    if (this.#headTimer !== undefined) {
      this.#headTimer.cancel();
      this.#headTimer = undefined;
    }
    if (outcome === 'read') this.#begin();
    else this.#refuse(outcome);
    return next;
  }

  /** The head that was read becomes a request. */
  #begin(): void {
    const { list, chunked, contentLength, upgrade } = head;
    const exchange = new ServerExchange(this, this.#nextId, head, this.#settings.bodyWindow);
    this.#nextId += 2;
    this.#minorVersion = exchange.minorVersion;
    this.#exchange = exchange;
    const hasBody = chunked || contentLength > 0;
    const endStream = !hasBody && upgrade === undefined;
    exchange.requestEnded = endStream;
    this.#input = hasBody ? 'body' : 'wait';
    if (hasBody) this.#reader.begin(chunked, contentLength);
    const handler = this.#handler.onRequest(exchange, list, endStream);
    exchange.handler = handler;
    if (exchange.wasReset) return;
    if (this.#state === 'closed') {
      // The connection was lost before there was a handler to tell.
      handler?.onReset(ErrorCode.CONNECT_ERROR);
    } else if (handler === undefined) {
      exchange.reset(ErrorCode.NO_ERROR);
    } else if (endStream) {
      handler.onEnd();
    }
  }

  #readBody(slab: Slab, at: number, end: number): number {
    const reader = this.#reader;
    const exchange = this.#exchange as ServerExchange;
    const outcome = reader.next(slab.bytes, at, end);
    if (outcome === 'more') return end;
    if (outcome === 'fault') {
      this.#badBody(exchange, reader.fault);
      return end;
    }
    const next = reader.dataEnd;
    if (outcome === 'data') {
      exchange.awaitsContinue = false;
      const span = { start: reader.dataStart, end: next };
      if (this.#input === 'discard') this.#discard(span.end - span.start);
      else this.#deliver(exchange, slab, span);
      if (!reader.complete) return next;
    }
    if (this.#exchange === exchange && this.#input !== 'none') this.#endRequest(exchange);
    return next;
  }

  #deliver(
    exchange: ServerExchange,
    slab: Slab,
    span: { readonly start: number; readonly end: number },
  ): void {
    const length = span.end - span.start;
    exchange.unconsumed += length;
    if (exchange.unconsumed > exchange.window) this.#pause.add(PAUSED_BY_WINDOW);
    exchange.handler?.onData(slab, span.start, length);
  }

  #endRequest(exchange: ServerExchange): void {
    const { trailers } = this.#reader;
    if (trailers.length > 0 && !exchange.wasReset) exchange.handler?.onHeaders?.(trailers, true);
    // The owner may have ended everything in there.
    if (this.#exchange !== exchange || this.#state !== 'open') return;
    exchange.requestEnded = true;
    this.#input = 'wait';
    this.#pause.remove(PAUSED_BY_WINDOW);
    if (exchange.response === 'ended') this.#done(exchange);
    if (!exchange.wasReset) exchange.handler?.onEnd();
  }

  #discard(bytes: number): void {
    this.#discarded += bytes;
    if (this.#discarded > this.#settings.maxDiscardBytes) this.#finish();
  }

  #badBody(exchange: ServerExchange, why: HttpFault): void {
    if (exchange.response !== 'none') {
      this.#transport.destroy();
      return this.#lost(ErrorCode.PROTOCOL_ERROR, why.reason);
    }
    exchange.gone = true;
    this.#exchange = undefined;
    this.#refuse(why);
    exchange.handler?.onReset(ErrorCode.PROTOCOL_ERROR);
  }

  #rawEnded(exchange: ServerExchange): void {
    if (exchange.requestEnded) return;
    exchange.requestEnded = true;
    if (exchange.response === 'ended') this.#done(exchange);
    if (!exchange.wasReset) exchange.handler?.onEnd();
  }

  // Octets behind a request that is under way

  #hold(slab: Slab, at: number, end: number): void {
    if (this.#held.add(slab, at, end)) this.#pause.add(PAUSED_BY_HELD);
    else this.#dropHeld();
  }

  /** RFC 9112 section 9.3.2: who pipelines must be ready to repeat what was not answered. */
  #dropHeld(): void {
    this.#release();
    this.#dropping = true;
    this.#closeAfter = true;
    this.#pause.add(PAUSED_BY_HELD);
    if (this.#exchange?.upgrade === undefined && this.#exchange !== undefined) return;
    this.#transport.destroy();
    this.#lost(ErrorCode.ENHANCE_YOUR_CALM, 'too many octets before they may be read');
  }

  #processHeld(): void {
    const { slab, start, end } = this.#held;
    if (slab === undefined || this.#processing || this.#state !== 'open') return;
    if (this.#input !== 'wait' && this.#input !== 'none') this.#process(slab, start, end);
  }

  /** All that was held is used, or never will be. */
  #release(): void {
    this.#held.clear();
    this.#pause.remove(PAUSED_BY_HELD);
  }

  // ServerPort

  sendHead(writer: HeadWriter): void {
    if (!this.#outbox.control(writer.slab, 0, writer.length)) this.cut();
  }

  willClose(exchange: ServerExchange): boolean {
    const { left } = this.#reader;
    const { maxDiscardBytes } = this.#settings;
    const tooMuchLeft = this.#input === 'body' && left !== Number.POSITIVE_INFINITY && left > maxDiscardBytes;
    // A client that was never told to go on may or may not send the body: its next octets could be either.
    const unsure = exchange.awaitsContinue || tooMuchLeft;
    if (unsure || !exchange.keepAlive || this.#draining || this.#nothingFollows()) this.#closeAfter = true;
    return this.#closeAfter;
  }

  /** The client ended, and what it sent before is used. */
  #nothingFollows(): boolean {
    return this.#peerEnded && this.#held.slab === undefined;
  }

  closeAfter(): void {
    this.#closeAfter = true;
  }

  upgraded(): void {
    this.#input = 'raw';
    this.#closeAfter = true;
    if (this.#held.slab !== undefined) this.#arm();
  }

  upgradeDeclined(exchange: ServerExchange): void {
    exchange.requestEnded = true;
    this.#tellEnd = exchange;
    this.#arm();
  }

  responseEnded(exchange: ServerExchange): void {
    if (this.#input === 'raw') this.#outbox.finish('endWrite');
    if (exchange.requestEnded) this.#done(exchange);
  }

  discardRest(): void {
    const { left } = this.#reader;
    if (this.#closeAfter || this.#input !== 'body') return this.#finish();
    this.#input = 'discard';
    this.#discarded = 0;
    if (left !== Number.POSITIVE_INFINITY && left > this.#settings.maxDiscardBytes) this.#finish();
    else this.#pause.remove(PAUSED_BY_WINDOW);
  }

  cut(): void {
    if (this.#state !== 'open') return;
    this.#state = 'cut';
    this.#input = 'none';
    this.#transport.destroy();
    this.#arm();
  }

  consumed(exchange: ServerExchange): void {
    if (exchange.unconsumed * 2 <= exchange.window) this.#pause.remove(PAUSED_BY_WINDOW);
  }

  // Ends

  /** Request and response are over. */
  #done(exchange: ServerExchange): void {
    exchange.gone = true;
    this.#exchange = undefined;
    if (this.#closeAfter || this.#nothingFollows()) return this.#finish();
    this.#input = 'head';
    this.#idle.touch();
    // The response was begun before the drain, and promised more.
    if (this.#draining) this.#endIfStillIdle();
    if (this.#held.slab !== undefined && !this.#processing) this.#arm();
  }

  #endIfStillIdle(): void {
    this.#drainTimer?.cancel();
    this.#drainTimer = this.#loop.after(this.#settings.drainGraceMs, () => {
      if (this.#input === 'head' && !this.#heads.unfinished && this.#held.slab === undefined) this.#finish();
    });
  }

  #refuse({ status, reason }: HttpFault): void {
    this.#handler.onRefused?.(status, reason);
    if (this.#state !== 'open') return;
    refusal.response([[':status', String(status)]], true, { minorVersion: 1, head: false, close: true });
    this.#outbox.control(refusal.slab, 0, refusal.length);
    this.#finish();
  }

  /** Nothing more is read; the connection ends when what was written is sent. */
  #finish(): void {
    if (this.#input === 'none') return;
    this.#input = 'none';
    this.#headTimer?.cancel();
    this.#drainTimer?.cancel();
    this.#heads.clear();
    this.#release();
    this.#idle.touch();
    this.#outbox.finish('end');
  }

  #lost(code: number, reason: string | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#input = 'none';
    this.#pause.forget();
    this.#idle.cancel();
    this.#headTimer?.cancel();
    this.#drainTimer?.cancel();
    this.#heads.clear();
    this.#reader.close();
    this.#release();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange?.gone === false) {
      exchange.gone = true;
      exchange.handler?.onReset(code);
    }
    this.#handler.onClosed(reason);
  }

  #idleTooLong(): void {
    if (this.#input === 'head') this.#finish();
    // The peer does not take the last answer.
    else this.destroy();
  }

  #headTimedOut(): void {
    this.#headTimer = undefined;
    if (this.#input === 'head' && this.#heads.unfinished)
      this.#refuse({ status: 408, reason: 'the head did not end in time' });
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#loop.atTurnEnd(this);
  }
}
