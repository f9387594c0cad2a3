// One try of a request at one endpoint: waits for a connection, sends, and passes on what comes back. Knows no policy:
// what a failure means is its owner's business. Invariant: after `abandon` or a failure nothing of it is heard again.

import { ErrorCode, errorName, H2Error } from '../../mesh/h2/error.ts';
import type { Header } from '../../mesh/h2/header.ts';
import type { HttpStream, HttpStreamHandler } from '../../mesh/http/stream.ts';
import type { PickHandle } from '../../mesh/balance/balancer.ts';
import type { Slab } from '../../mesh/io/slab.ts';
import type { Timer } from '../../mesh/runtime/clock.ts';
import type { ConnectFailure } from './upstream/endpoint-address.ts';
import type { ConnectionWaiter, EndpointPool } from './upstream/endpoint-pool.ts';
import type { PooledConnection } from './upstream/pooled-connection.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';
import type { ResponseFlag } from './request-record.ts';
import type { TryFailure } from '../resilience/retry-policy.ts';

/** 1xx of one response; more is a flood. 103 comes a few times at most. */
const maxInformational = 32;

export interface AttemptFailure {
  readonly failure: TryFailure;
  readonly flag: ResponseFlag;
  readonly details: string;
  /** A connection that was used before ended before a byte came back: most likely the endpoint had closed it as idle. */
  readonly stale: boolean;
  /** Blames the endpoint: not after its policy said no. */
  readonly blames: 'connect' | 'tunnel' | 'reset' | 'none';
}

export interface AttemptOwner {
  /** The stream is open: headers are sent, the body may follow. */
  onSent(attempt: Attempt, stream: HttpStream): void;
  onInformational(attempt: Attempt, headers: readonly Header[]): void;
  /** The final head. */
  onResponse(attempt: Attempt, status: number, headers: readonly Header[], endStream: boolean): void;
  onResponseData(slab: Slab, offset: number, length: number): void;
  onResponseTrailers(headers: readonly Header[]): void;
  onResponseEnd(): void;
  /** Before the final head. */
  onFailed(attempt: Attempt, failure: AttemptFailure): void;
  /** After it. */
  onBroken(flag: ResponseFlag, details: string): void;
  /** The stream takes more of the request's body. */
  onRoom(): void;
}

export interface AttemptRequest {
  readonly headers: readonly Header[];
  readonly endStream: boolean;
  readonly upgrade: boolean;
  readonly connectTimeoutMs: number;
  readonly maxRequestsPerConnection: number;
}

export class Attempt implements HttpStreamHandler, ConnectionWaiter {
  readonly endpoint: UpstreamEndpoint;
  readonly handle: PickHandle | undefined;
  readonly startedMs: number;
  stream: HttpStream | undefined;
  /** Of the try, where it has one. */
  timer: Timer | undefined;
  #owner: AttemptOwner;
  #request: AttemptRequest;
  #pool: EndpointPool;
  #connection: PooledConnection | undefined;
  #answered = false;
  #done = false;
  #informational = 0;

  constructor(
    owner: AttemptOwner,
    request: AttemptRequest,
    place: {
      readonly endpoint: UpstreamEndpoint;
      readonly pool: EndpointPool;
      readonly handle: PickHandle | undefined;
      readonly startedMs: number;
    },
  ) {
    this.#owner = owner;
    this.#request = request;
    this.#pool = place.pool;
    this.endpoint = place.endpoint;
    this.handle = place.handle;
    this.startedMs = place.startedMs;
  }

  /** The final head has come. */
  get answered(): boolean {
    return this.#answered;
  }

  get connectTimeoutMs(): number {
    return this.#request.connectTimeoutMs;
  }

  onConnection(connection: PooledConnection): void {
    if (this.#done) return;
    const { headers, endStream, maxRequestsPerConnection } = this.#request;
    this.#connection = connection;
    connection.served++;
    let stream: HttpStream | undefined;
    try {
      stream = connection.http.request(headers, endStream, this);
    } catch (error) {
      return this.#fail({
        failure: { kind: 'connect' },
        flag: 'UPE',
        details: messageOf(error),
        stale: false,
        blames: 'none',
      });
    }
    if (stream === undefined)
      return this.#fail({
        failure: { kind: 'refused' },
        flag: 'UC',
        details: 'the connection was lost',
        stale: true,
        blames: 'none',
      });
    this.stream = stream;
    if (maxRequestsPerConnection > 0 && connection.served >= maxRequestsPerConnection) connection.drain();
    this.#owner.onSent(this, stream);
  }

  onNoConnection({ kind, message, retryable }: ConnectFailure): void {
    if (this.#done) return;
    this.#fail({
      failure: { kind: retryable ? 'connect' : 'reset' },
      flag: 'UF',
      details: message,
      stale: false,
      blames: kind === 'denied' ? 'none' : kind,
    });
  }

  onHeaders(headers: readonly Header[], endStream: boolean): void {
    if (this.#done) return;
    if (this.#answered) return this.#owner.onResponseTrailers(headers);
    const status = Number(headers[0]?.[1]);
    if (this.#connection !== undefined) this.#pool.heard(this.#connection);
    if (status < 200 && (status !== 101 || !this.#request.upgrade))
      return this.#onInformational(status, headers);
    this.#answered = true;
    this.#owner.onResponse(this, status, headers, endStream);
  }

  onData(slab: Slab, offset: number, length: number): void {
    if (!this.#done) this.#owner.onResponseData(slab, offset, length);
  }

  onEnd(): void {
    if (!this.#done) this.#owner.onResponseEnd();
  }

  onReset(code: number): void {
    if (this.#done) return;
    const flag = flagOf(code);
    const what =
      flag === 'UC'
        ? 'the endpoint closed its connection'
        : `the endpoint reset the stream (${errorName(code)})`;
    if (this.#answered) {
      this.#done = true;
      this.#settle();
      return this.#owner.onBroken(flag, `${what} in the middle of the response`);
    }
    const refused = code === ErrorCode.REFUSED_STREAM;
    const stale = code === ErrorCode.CONNECT_ERROR && (this.#connection?.served ?? 0) > 1;
    this.#fail({
      failure: { kind: refused ? 'refused' : 'reset' },
      flag,
      details: `${what} before the response`,
      stale,
      blames: refused || stale ? 'none' : 'reset',
    });
  }

  onWritable(): void {
    if (!this.#done) this.#owner.onRoom();
  }

  /** Gives it up because its time, or that of the request, is over. */
  timedOut(): void {
    const unanswered = !this.#done && !this.#answered && this.stream !== undefined;
    if (unanswered && this.#connection !== undefined) this.#pool.unanswered(this.#connection, this.startedMs);
    this.abandon();
  }

  /** Gives it up, whatever its state; the endpoint sees a cancelled stream. Idempotent. */
  abandon(code: number = ErrorCode.CANCEL): void {
    if (this.#done) return;
    this.#done = true;
    if (this.stream === undefined) this.#pool.forget(this);
    else this.stream.reset(code);
    this.#settle();
  }

  /** Both directions are over. Idempotent. */
  finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#settle();
  }

  #onInformational(status: number, headers: readonly Header[]): void {
    this.#informational++;
    if (status >= 100 && status !== 101 && this.#informational <= maxInformational)
      return this.#owner.onInformational(this, headers);
    this.stream?.reset(ErrorCode.PROTOCOL_ERROR);
    const details =
      status === 101 ? 'the endpoint switched protocols unasked' : 'the endpoint sends no end of 1xx';
    this.#fail({ failure: { kind: 'reset' }, flag: 'UPE', details, stale: false, blames: 'reset' });
  }

  #fail(failure: AttemptFailure): void {
    this.#done = true;
    this.#settle();
    this.#owner.onFailed(this, failure);
  }

  #settle(): void {
    this.timer?.cancel();
    const connection = this.#connection;
    if (connection !== undefined && this.#pool.protocol === 'http2') this.#pool.released(connection);
  }
}

function messageOf(error: unknown): string {
  if (error instanceof H2Error) return `the request can not be sent: ${error.message}`;
  throw error;
}

/** What the peer broke on its connection ends its streams with the connection's error. */
function flagOf(code: number): ResponseFlag {
  switch (code) {
    case ErrorCode.CONNECT_ERROR:
    case ErrorCode.STREAM_CLOSED:
      return 'UC';
    case ErrorCode.PROTOCOL_ERROR:
    case ErrorCode.FLOW_CONTROL_ERROR:
    case ErrorCode.FRAME_SIZE_ERROR:
    case ErrorCode.COMPRESSION_ERROR:
    case ErrorCode.ENHANCE_YOUR_CALM:
      return 'UPE';
    default:
      return 'UR';
  }
}
