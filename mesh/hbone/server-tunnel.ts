// One incoming tunnel: TLS server, HTTP/2, and the CONNECT requests that arrive in it. Decides nothing: each request is
// handed on with what the connection proves about the caller, and answered by whoever got it.

import { ErrorCode } from '../h2/error.ts';
import { type Header, headerValue } from '../h2/header.ts';
import { H2Session } from '../h2/session.ts';
import type { H2Stream, StreamHandler } from '../h2/stream.ts';
import type { IoError } from '../io/io-error.ts';
import type { Reactor } from '../io/reactor.ts';
import type { Slab } from '../io/slab.ts';
import type { SocketAddress } from '../io/socket-address.ts';
import { TlsConnection } from '../io/tls-connection.ts';
import type { TlsContext } from '../io/tls-context.ts';
import { formatSpiffeId, type Identity } from '../model/spiffe-id.ts';
import { Liveness } from './liveness.ts';
import { printableReason, REASON_FRAME } from './reason-frame.ts';
import { type LivenessOptions, tunnelConnectionWindow, tunnelSettings } from './tunnel-settings.ts';

export interface ServerTunnelOptions {
  readonly context: TlsContext;
  /** A client must carry an identity of this trust domain. */
  readonly trustDomain: string;
  /** Where the client connected from and to. */
  readonly remote: SocketAddress;
  readonly local: SocketAddress;
  readonly liveness: LivenessOptions;
  readonly handshakeTimeoutMs: number;
  readonly onRequest: (request: IncomingConnect) => void;
  readonly onFailed: (error: IoError) => void;
  /** Called once, also after `onFailed`. */
  readonly onClosed: () => void;
}

/** Of the PING that follows the first GOAWAY; a liveness PING is all zeros. */
const goodbye = Buffer.from('goodbye.');

/** A CONNECT that waits for its answer: call accept or reject, once. Until then bytes are not expected and flow-controlled. */
export class IncomingConnect implements StreamHandler {
  readonly tunnel: ServerTunnel;
  readonly stream: H2Stream;
  readonly headers: readonly Header[];
  #next: StreamHandler | undefined;
  #answered = false;
  #onGone: (() => void) | undefined;

  constructor(tunnel: ServerTunnel, stream: H2Stream, headers: readonly Header[]) {
    this.tunnel = tunnel;
    this.stream = stream;
    this.headers = headers;
  }

  get authority(): string {
    return headerValue(this.headers, ':authority') ?? '';
  }

  get isConnect(): boolean {
    return headerValue(this.headers, ':method') === 'CONNECT';
  }

  /** The caller gave up (or the tunnel was lost) before the answer. */
  onGone(listener: () => void): void {
    this.#onGone = listener;
  }

  /** 200: `next` gets the bytes from here on. */
  accept(headers: readonly Header[], next: StreamHandler): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#next = next;
    this.stream.respond([[':status', '200'], ...headers], false);
    this.tunnel.session.flush();
  }

  /** An error status without a body; `reason`, and other headers of Weft's own, are for a Weft peer. */
  reject(status: number, reason?: string, options: { readonly headers?: readonly Header[] } = {}): void {
    if (this.#answered) return;
    this.#answered = true;
    const headers: Header[] = [[':status', String(status)]];
    if (reason !== undefined) headers.push(['x-weft-reason', printableReason(reason)]);
    if (options.headers !== undefined) headers.push(...options.headers);
    this.stream.respond(headers, true);
    // The request side is still open: what the client may send is not wanted (RFC 9113 section 8.1).
    this.stream.reset(ErrorCode.NO_ERROR);
    this.tunnel.session.flush();
  }

  onData(slab: Slab, offset: number, length: number): void {
    if (this.#next !== undefined) return this.#next.onData(slab, offset, length);
    // Early bytes: a client that does not wait for 200. Nothing may be lost and nothing is dialled yet, so refuse.
    this.#answered = true;
    this.stream.reset(ErrorCode.CANCEL);
    this.#onGone?.();
  }

  onEnd(): void {
    if (this.#next !== undefined) return this.#next.onEnd();
    this.#answered = true;
    this.stream.reset(ErrorCode.CANCEL);
    this.#onGone?.();
  }

  onWritable(): void {
    this.#next?.onWritable();
  }

  onReset(code: number): void {
    if (this.#next !== undefined) return this.#next.onReset(code);
    this.#answered = true;
    this.#onGone?.();
  }
}

export class ServerTunnel {
  readonly options: ServerTunnelOptions;
  /** Valid once a request arrived. */
  session!: H2Session;
  /** First identity of the client's certificate. */
  peer!: Identity;
  #reactor: Reactor;
  #connection: TlsConnection;
  #liveness: Liveness | undefined;
  #draining = false;
  /** What was on its way when the tunnel began to drain has arrived. */
  #saidGoodbye = false;

  /** Takes ownership of `fd`. */
  constructor(reactor: Reactor, fd: number, options: ServerTunnelOptions) {
    this.#reactor = reactor;
    this.options = options;
    this.#connection = new TlsConnection(reactor, fd, options.context, {
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      verifyPeer: (identities) => foreignPeer(identities, options.trustDomain),
      onUp: (identities) => this.#up(identities),
      onFailed: (error) => {
        options.onFailed(error);
        options.onClosed();
      },
    });
  }

  /** Tells a Weft peer why `stream` is about to be cut; a peer of another kind ignores it. */
  explain(stream: H2Stream, reason: string): void {
    const payload = Buffer.from(printableReason(reason));
    this.session.sendExtension(stream.id, payload);
  }

  /** GOAWAY: takes the streams that are on their way, then no more; ends when the last one has. Idempotent. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    // In the handshake nothing can be said yet: it is told as soon as the tunnel is up.
    if (this.session !== undefined) this.#sayGoodbye();
  }

  /** To be called whenever a stream of the tunnel has ended. */
  streamEnded(): void {
    if (this.#saidGoodbye && this.session.openStreams === 0) this.#connection.end();
  }

  /** Drops the tunnel and every stream in it. Idempotent. */
  destroy(): void {
    this.#connection.destroy();
  }

  /** A round trip lies between the two GOAWAYs (RFC 9113 section 6.8): the client may have asked before it heard the first. */
  #sayGoodbye(): void {
    this.session.goaway(ErrorCode.NO_ERROR);
    this.session.ping(goodbye);
    this.session.flush();
  }

  #heardGoodbye(payload: Uint8Array): void {
    if (!this.#draining || this.#saidGoodbye || !goodbye.equals(payload)) return;
    this.#saidGoodbye = true;
    this.session.goaway(ErrorCode.NO_ERROR);
    this.session.flush();
    this.streamEnded();
  }

  #up(identities: readonly Identity[]) {
    const connection = this.#connection;
    this.peer = identities[0] as Identity;
    const session = new H2Session(
      connection,
      {
        onStream: (stream, headers) => {
          const request = new IncomingConnect(this, stream, headers);
          this.options.onRequest(request);
          return request;
        },
        onPong: (payload) => this.#heardGoodbye(payload),
        onClosed: () => connection.end(),
      },
      {
        role: 'server',
        settings: tunnelSettings,
        connectionWindow: tunnelConnectionWindow,
        extension: REASON_FRAME,
        now: () => this.#reactor.now,
      },
    );
    this.session = session;
    this.#liveness = new Liveness(this.#reactor, session, this.options.liveness, () => connection.destroy());
    session.start();
    if (this.#draining) this.#sayGoodbye();
    return {
      receive: (slab: Slab, offset: number, length: number) => {
        this.#liveness?.heard();
        session.receive(slab, offset, length);
      },
      onTransportWritable: () => session.onTransportWritable(),
      transportClosed: () => {
        this.#liveness?.stop();
        session.transportClosed();
        this.options.onClosed();
      },
    };
  }
}

function foreignPeer(identities: readonly Identity[], trustDomain: string): string | undefined {
  if (identities.length === 0) return 'the client certificate has no SPIFFE identity';
  if (identities.some((identity) => identity.trustDomain === trustDomain)) return undefined;
  return `the client is of another trust domain: ${identities.map(formatSpiffeId).join(', ')}, wanted ${trustDomain}`;
}
