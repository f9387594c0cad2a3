// One outgoing tunnel: TCP connect, TLS with the expected identity, HTTP/2, and the CONNECT streams in it. States:
// connecting -> up -> closed; retired at any of them. Requests made while it connects wait for it; when it fails they
// all fail.

import { ErrorCode, errorName } from '../h2/error.ts';
import { type Header, headerValue } from '../h2/header.ts';
import { H2Session } from '../h2/session.ts';
import type { H2Stream, StreamHandler } from '../h2/stream.ts';
import { IoError } from '../io/io-error.ts';
import type { Reactor } from '../io/reactor.ts';
import type { Slab } from '../io/slab.ts';
import type { SocketAddress } from '../io/socket-address.ts';
import { type DialledSocket, TcpDial } from '../io/tcp-dial.ts';
import { TlsConnection } from '../io/tls-connection.ts';
import type { TlsContext } from '../io/tls-context.ts';
import { formatSpiffeId, type Identity, type SpiffeId } from '../model/spiffe-id.ts';
import type { Timer } from '../runtime/clock.ts';
import { HboneError, type HboneErrorCode } from './hbone-error.ts';
import { Liveness } from './liveness.ts';
import { printableReason, REASON_FRAME, waypointRequired } from './reason-frame.ts';
import {
  type LivenessOptions,
  maxStreamsPerTunnel,
  tunnelConnectionWindow,
  tunnelSettings,
} from './tunnel-settings.ts';

/** Reasons that nobody asked for yet; each is taken when its stream ends. */
const maxReasons = 1_000;

export interface ClientTunnelOptions {
  readonly target: SocketAddress;
  /** Identities one of which the server's certificate must carry, exactly. */
  readonly expected: readonly SpiffeId[];
  readonly context: TlsContext;
  /** Makes the socket: in the right namespace, bound to the right source, exempt from capture. */
  readonly createSocket: () => number;
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly liveness: LivenessOptions;
  /** The tunnel takes no further streams; called once. */
  readonly onRetired: () => void;
  /** Everything ended; called once. */
  readonly onClosed: () => void;
}

export interface ConnectHandler {
  /** 200: returns what gets the bytes from here on. */
  onConnected(
    stream: H2Stream,
    session: H2Session,
    peer: Identity | undefined,
    headers: readonly Header[],
  ): StreamHandler;
  onFailed(error: HboneError): void;
}

/** One CONNECT: waits for the tunnel, then for the answer, then passes everything on. */
export class ConnectRequest implements StreamHandler {
  readonly headers: readonly Header[];
  readonly tunnel: ClientTunnel;
  #handler: ConnectHandler | undefined;
  #stream: H2Stream | undefined;
  #next: StreamHandler | undefined;

  constructor(tunnel: ClientTunnel, headers: readonly Header[], handler: ConnectHandler) {
    this.headers = headers;
    this.tunnel = tunnel;
    this.#handler = handler;
  }

  /** Gives up before the answer; afterwards the stream belongs to the handler. Idempotent. */
  cancel(): void {
    if (this.#handler === undefined) return;
    this.#handler = undefined;
    if (this.#stream !== undefined) {
      this.#stream.reset(ErrorCode.CANCEL);
      this.tunnel.session.flush();
    }
    this.tunnel.forget(this);
  }

  get pending(): boolean {
    return this.#handler !== undefined;
  }

  started(stream: H2Stream): void {
    this.#stream = stream;
  }

  fail(error: HboneError): void {
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onFailed(error);
    this.tunnel.streamEnded();
  }

  onHeaders(headers: readonly Header[], endStream: boolean): void {
    const handler = this.#handler;
    if (handler === undefined || this.#stream === undefined) return;
    const status = Number(headerValue(headers, ':status') ?? '0');
    if (status >= 100 && status < 200) return;
    if (status === 200 && !endStream) {
      this.#handler = undefined;
      this.#next = handler.onConnected(this.#stream, this.tunnel.session, this.tunnel.peer, headers);
      return;
    }
    // Also when the peer ended its direction: ours would keep the stream open.
    this.#stream.reset(ErrorCode.CANCEL);
    this.fail(answeredWith(status, headers));
  }

  onData(slab: Slab, offset: number, length: number): void {
    this.#next?.onData(slab, offset, length);
  }

  onEnd(): void {
    this.#next?.onEnd();
  }

  onWritable(): void {
    this.#next?.onWritable();
  }

  onReset(code: number): void {
    if (this.#next !== undefined) return this.#next.onReset(code);
    this.fail(
      new HboneError('tunnel-lost', `The tunnel reset the stream before its answer: ${errorName(code)}`, {
        // REFUSED_STREAM: surely not processed (RFC 9113 section 8.7). No byte of the application was sent in any case.
        retryable: true,
      }),
    );
  }
}

function answeredWith(status: number, headers: readonly Header[]): HboneError {
  const said = headerValue(headers, 'x-weft-reason');
  const reason = said === undefined ? undefined : printableReason(said);
  if (status === 401) {
    return new HboneError('denied', reason ?? 'connection denied by the destination node', {
      retryable: false,
      status,
      waypointRequired: headerValue(headers, waypointRequired[0]) === waypointRequired[1],
    });
  }
  const why = reason === undefined ? '' : `: ${reason}`;
  return new HboneError('refused', `The destination node answered CONNECT with status ${status}${why}`, {
    retryable: status === 503,
    status,
  });
}

export class ClientTunnel {
  readonly options: ClientTunnelOptions;
  /** Valid once up. */
  session!: H2Session;
  /** The server's identity; undefined until up. */
  peer: Identity | undefined;
  #reactor: Reactor;
  #state: 'connecting' | 'up' | 'closed' = 'connecting';
  #retired = false;
  #dial: TcpDial | undefined;
  #connection: TlsConnection | undefined;
  #liveness: Liveness | undefined;
  #waiting = new Set<ConnectRequest>();
  #reasons = new Map<number, string>();
  #unused: Timer | undefined;
  #served = 0;

  /** @throws IoError when the socket cannot be made. */
  constructor(reactor: Reactor, options: ClientTunnelOptions) {
    this.#reactor = reactor;
    this.options = options;
    this.#dial = new TcpDial(reactor, options.createSocket(), {
      target: options.target,
      timeoutMs: options.connectTimeoutMs,
      onConnected: (connected) => this.#secure(connected),
      onFailed: (error) => this.#failed(error),
    });
  }

  /** True while another stream may be asked for. */
  get available(): boolean {
    if (this.#retired) return false;
    if (this.#state === 'connecting') return this.#waiting.size < maxStreamsPerTunnel;
    return this.#state === 'up' && this.session.canOpen && this.session.openStreams < this.#streamLimit();
  }

  /** True when the tunnel carried a stream before: a failure may then just mean that it was stale. */
  get reused(): boolean {
    return this.#served > 0;
  }

  get openStreams(): number {
    return this.#state === 'up' ? this.session.openStreams : this.#waiting.size;
  }

  /**
   * Asks for a stream. Exactly one of the handler's callbacks follows, never from inside this call, unless the request
   * is cancelled.
   */
  connect(headers: readonly Header[], handler: ConnectHandler): ConnectRequest {
    const request = new ConnectRequest(this, headers, handler);
    this.#unused?.cancel();
    if (this.#state === 'connecting') this.#waiting.add(request);
    else if (!this.#open(request)) this.#reactor.after(0, () => request.fail(full()));
    return request;
  }

  /** The reason the other node gave for cutting `streamId`, if it gave one. */
  takeReason(streamId: number): string | undefined {
    const reason = this.#reasons.get(streamId);
    this.#reasons.delete(streamId);
    return reason;
  }

  forget(request: ConnectRequest): void {
    this.#waiting.delete(request);
    this.streamEnded();
  }

  /** No further streams, those asked for are served; ends when the last one has. Idempotent. */
  drain(): void {
    if (this.#state === 'closed') return;
    this.#retire();
    this.streamEnded();
  }

  /** To be called whenever a stream that was connected has ended. */
  streamEnded(): void {
    if (this.#state === 'closed' || this.openStreams > 0) return;
    if (this.#retired) return this.#end();
    if (this.#state === 'connecting') return;
    this.#unused?.cancel();
    this.#unused = this.#reactor.after(this.options.liveness.unusedReleaseMs, () => this.drain());
  }

  /** Drops the tunnel and every stream in it. Idempotent. */
  destroy(): void {
    if (this.#state === 'closed') return;
    this.#dial?.cancel();
    if (this.#connection === undefined) this.#failed(new IoError('closed', 'The tunnel was given up'));
    else this.#connection.destroy();
  }

  #streamLimit(): number {
    return Math.min(maxStreamsPerTunnel, this.session.remote.maxConcurrentStreams);
  }

  #secure(connected: DialledSocket): void {
    this.#dial = undefined;
    this.#connection = new TlsConnection(this.#reactor, connected, this.options.context, {
      handshakeTimeoutMs: this.options.handshakeTimeoutMs,
      verifyPeer: (identities) => unexpectedPeer(identities, this.options.expected),
      onUp: (identities) => this.#up(identities),
      onFailed: (error) => this.#failed(error),
    });
  }

  #up(identities: readonly Identity[]) {
    const connection = this.#connection as TlsConnection;
    this.peer = identities[0];
    this.#state = 'up';
    const session = new H2Session(
      connection,
      {
        onGoaway: () => this.drain(),
        onClosed: () => {
          connection.end();
        },
        onExtension: (streamId, payload) => {
          if (this.#reasons.size >= maxReasons) return;
          this.#reasons.set(streamId, printableReason(payload.toString('latin1')));
        },
      },
      {
        role: 'client',
        settings: tunnelSettings,
        connectionWindow: tunnelConnectionWindow,
        extension: REASON_FRAME,
        now: () => this.#reactor.now,
      },
    );
    this.session = session;
    this.#liveness = new Liveness(this.#reactor, session, this.options.liveness, () => connection.destroy());
    session.start();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const request of waiting) if (!this.#open(request)) request.fail(full());
    this.streamEnded();
    return {
      receive: (slab: Slab, offset: number, length: number) => {
        this.#liveness?.heard();
        session.receive(slab, offset, length);
      },
      onTransportWritable: () => session.onTransportWritable(),
      transportClosed: (error: IoError | undefined) => {
        session.transportClosed();
        this.#lost(error);
      },
    };
  }

  #open(request: ConnectRequest): boolean {
    const stream = this.#state === 'up' ? this.session.request(request.headers, false, request) : undefined;
    if (stream === undefined) return false;
    this.#served++;
    request.started(stream);
    this.session.flush();
    return true;
  }

  #failed(error: IoError): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#closed();
    for (const request of waiting) request.fail(tunnelFailure(error));
  }

  #lost(error: IoError | undefined): void {
    // Streams were told by the session; what still waits was never sent.
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#closed();
    for (const request of waiting) {
      request.fail(new HboneError('tunnel-lost', 'The tunnel was lost', { retryable: true, cause: error }));
    }
  }

  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.options.onRetired();
  }

  #end(): void {
    if (this.#state === 'connecting') return this.destroy();
    this.session.goaway(ErrorCode.NO_ERROR);
    this.session.flush();
    this.#connection?.end();
  }

  #closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#liveness?.stop();
    this.#unused?.cancel();
    this.#retire();
    this.options.onClosed();
  }
}

function unexpectedPeer(identities: readonly Identity[], expected: readonly SpiffeId[]): string | undefined {
  const offered = identities.map(formatSpiffeId);
  if (offered.some((id) => expected.includes(id))) return undefined;
  const got = offered.length === 0 ? 'no SPIFFE identity' : offered.join(', ');
  return `peer did not present the expected identity: wanted ${expected.join(' or ')}, got ${got}`;
}

function tunnelFailure(error: IoError): HboneError {
  return new HboneError(failureCode(error), error.message, { retryable: true, cause: error });
}

function failureCode({ code }: IoError): HboneErrorCode {
  if (code === 'closed') return 'cancelled';
  if (code === 'tls-identity-rejected') return 'identity-rejected';
  return code.startsWith('tls') ? 'tls-failed' : 'connect-failed';
}

function full(): HboneError {
  return new HboneError('tunnel-full', 'The tunnel takes no further streams', { retryable: true });
}
