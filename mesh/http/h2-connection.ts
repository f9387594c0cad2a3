// An HTTP/2 session on a ByteTransport, behind the same two interfaces as HTTP/1.1. Adds what those promise and a session
// leaves to its owner: writing without flushing, the graceful end, the idle end, when there is room for another request.
// There is no upgrade here: extended CONNECT is not offered.

import { ErrorCode, H2Error } from '../h2/error.ts';
import { type Header, headerValue } from '../h2/header.ts';
import { H2Session } from '../h2/session.ts';
import type { H2Transport } from '../h2/transport.ts';
import type { TurnTask } from '../io/reactor.ts';
import type { Slab } from '../io/slab.ts';
import type { Timer } from '../runtime/clock.ts';
import type { ByteSink, ByteTransport } from './byte-transport.ts';
import type {
  HttpClientConnection,
  HttpClientHandler,
  HttpServerConnection,
  HttpServerHandler,
} from './connection.ts';
import { checkH2Request } from './h2-request-check.ts';
import { defaultHttp1Settings, type Http1Loop } from './http1-settings.ts';
import type { HttpStream, HttpStreamHandler } from './stream.ts';

const settings = {
  /** Octets of a body that may be unconsumed; as HTTP/1.1 has it. */
  initialWindowSize: 256 * 1024,
  /** DATA is streamed on: large frames cost no memory. */
  maxFrameSize: 64 * 1024,
  maxConcurrentStreams: 100,
  maxHeaderListSize: 64 * 1024,
} as const;

const connectionWindow = 16 * 1024 * 1024;
/** Streams a server is taken to allow before it said so. */
const assumedStreams = 100;
/** The answer to the PING between the two GOAWAY; then nobody can be under way who has not read the first. */
const goodbyeMs = 1_000;
/** Stream ids end at 2^30 requests: a new connection comes long before. */
const maxRequests = 2 ** 29;
const ping = new Uint8Array(8);

/** What both roles do: the session on its transport, until both are gone. */
abstract class H2Connection implements ByteSink, TurnTask {
  readonly version = '2';
  protected readonly loop: Http1Loop;
  protected readonly session: H2Session;
  readonly #transport: ByteTransport;
  /** Why the session ended, if by a mistake. */
  #reason: string | undefined;
  #destroyed = false;
  #armed = false;
  #told = false;

  constructor(loop: Http1Loop, transport: ByteTransport, role: 'client' | 'server') {
    this.loop = loop;
    this.#transport = transport;
    const way: H2Transport = {
      room: () => transport.room(),
      write: (slab, offset, length) => {
        transport.write(slab, offset, length);
        this.arm();
      },
      flush: () => transport.flush(),
      end: () => transport.end(),
      destroy: () => {
        this.#destroyed = true;
        transport.destroy();
      },
    };
    this.session = new H2Session(
      way,
      {
        onStream: (stream, headers, endStream) => this.accept(stream, headers, endStream),
        onGoaway: () => this.drain(),
        onPong: () => this.ponged(),
        onSettings: () => this.arm(),
        onClosed: (error) => this.#sessionClosed(error),
      },
      { role, settings, connectionWindow, now: () => loop.now },
    );
    transport.attach(this);
    this.session.start();
  }

  get openStreams(): number {
    return this.session.openStreams;
  }

  abstract drain(): void;

  destroy(): void {
    if (this.#told) return;
    this.#destroyed = true;
    this.#transport.destroy();
    this.session.transportClosed();
    this.#tell(undefined);
  }

  receive(slab: Slab, offset: number, length: number): void {
    this.session.receive(slab, offset, length);
    this.settle();
  }

  ended(): void {
    // HTTP/2 has no half-closed connections.
    this.session.transportClosed();
    this.#transport.end();
  }

  onTransportWritable(): void {
    this.session.onTransportWritable();
  }

  closed(reason: string | undefined): void {
    this.session.transportClosed();
    this.#tell(reason);
  }

  onTurnEnd(): void {
    this.#armed = false;
    this.session.flush();
    this.settle();
  }

  protected arm(): void {
    if (this.#armed || this.session?.closed === true) return;
    this.#armed = true;
    this.loop.atTurnEnd(this);
  }

  protected accept(
    _stream: HttpStream,
    _headers: readonly Header[],
    _endStream: boolean,
  ): HttpStreamHandler | undefined {
    return undefined;
  }

  protected ponged(): void {}

  /** Streams may have ended. */
  protected abstract settle(): void;

  /** Nothing runs on the connection any more. */
  protected abstract over(reason: string | undefined): void;

  #sessionClosed(error: H2Error | undefined): void {
    this.#reason = error === undefined ? undefined : `${error.code}: ${error.message}`;
    if (this.#destroyed) this.#tell(undefined);
  }

  #tell(reason: string | undefined): void {
    if (this.#told) return;
    this.#told = true;
    this.over(this.#reason ?? reason);
  }
}

export interface H2ServerOptions {
  readonly handler: HttpServerHandler;
  /** Without a request under way, ms. */
  readonly idleTimeoutMs?: number;
}

export class H2ServerConnection extends H2Connection implements HttpServerConnection {
  readonly #handler: HttpServerHandler;
  readonly #idleTimeoutMs: number;
  #draining: 'no' | 'asked' | 'last' = 'no';
  #idleSince: number;
  #idleTimer: Timer | undefined;
  #goodbye: Timer | undefined;

  /** Attaches itself to `transport`. Octets that were read before may be given to `receive` right after. */
  constructor(loop: Http1Loop, transport: ByteTransport, options: H2ServerOptions) {
    super(loop, transport, 'server');
    this.#handler = options.handler;
    this.#idleTimeoutMs = options.idleTimeoutMs ?? defaultHttp1Settings.idleTimeoutMs;
    this.#idleSince = loop.now;
    this.#watchIdle(this.#idleTimeoutMs);
  }

  /** Two GOAWAY with a round trip between them (RFC 9113 section 6.8): no request is lost on its way. */
  drain(): void {
    if (this.#draining !== 'no' || this.session.closed) return;
    this.#draining = 'asked';
    this.session.goaway(ErrorCode.NO_ERROR);
    this.session.ping(ping);
    this.#goodbye = this.loop.after(goodbyeMs, () => this.ponged());
    this.arm();
  }

  protected override ponged(): void {
    if (this.#draining !== 'asked') return;
    this.#draining = 'last';
    this.#goodbye?.cancel();
    this.session.goaway(ErrorCode.NO_ERROR);
    this.arm();
  }

  protected override accept(
    stream: HttpStream,
    headers: readonly Header[],
    endStream: boolean,
  ): HttpStreamHandler | undefined {
    const checked = checkH2Request(headers, defaultHttp1Settings.maxFields);
    if (!('status' in checked)) return this.#handler.onRequest(stream, checked, endStream);
    this.#handler.onRefused?.(checked.status, checked.reason);
    stream.respond([[':status', String(checked.status)]], true);
    return undefined;
  }

  protected override settle(): void {
    if (this.session.openStreams > 0) this.#idleSince = this.loop.now;
    else if (this.#draining === 'last') this.session.close(ErrorCode.NO_ERROR);
  }

  protected override over(reason: string | undefined): void {
    this.#idleTimer?.cancel();
    this.#goodbye?.cancel();
    this.#handler.onClosed(reason);
  }

  #watchIdle(delayMs: number): void {
    this.#idleTimer = this.loop.after(delayMs, () => {
      if (this.session.openStreams > 0) this.#idleSince = this.loop.now;
      const left = this.#idleSince + this.#idleTimeoutMs - this.loop.now;
      if (left > 0) this.#watchIdle(left);
      else this.drain();
    });
  }
}

export interface H2ClientOptions {
  readonly handler: HttpClientHandler;
}

export class H2ClientConnection extends H2Connection implements HttpClientConnection {
  readonly #handler: HttpClientHandler;
  #retired = false;
  #requests = 0;
  #full = false;

  /** Attaches itself to `transport`, which is connected, and says hello. */
  constructor(loop: Http1Loop, transport: ByteTransport, options: H2ClientOptions) {
    super(loop, transport, 'client');
    this.#handler = options.handler;
  }

  get canOpen(): boolean {
    const { session } = this;
    return (
      !this.#retired && session.canOpen && (session.remote.received || session.openStreams < assumedStreams)
    );
  }

  request(
    headers: readonly Header[],
    endStream: boolean,
    handler: HttpStreamHandler,
  ): HttpStream | undefined {
    if (!this.canOpen) {
      this.#full = true;
      return undefined;
    }
    if (headerValue(headers, ':upgrade') !== undefined) {
      throw new H2Error('INTERNAL_ERROR', 'Sending a request: HTTP/2 has no upgrade');
    }
    const stream = this.session.request(headers, endStream, handler);
    if (++this.#requests >= maxRequests) this.drain();
    else if (!this.canOpen) this.#full = true;
    return stream;
  }

  drain(): void {
    this.#retire();
    this.arm();
  }

  override destroy(): void {
    this.#retire();
    super.destroy();
  }

  protected override settle(): void {
    if (this.#retired) {
      if (this.session.openStreams === 0) this.session.close(ErrorCode.NO_ERROR);
    } else if (this.#full && this.canOpen) {
      this.#full = false;
      this.#handler.onAvailable();
    }
  }

  protected override over(reason: string | undefined): void {
    this.#retire();
    this.#handler.onClosed(reason);
  }

  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#handler.onRetired();
  }
}
