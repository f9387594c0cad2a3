// One HTTP connection as its owner holds it, whatever the version: requests come in (server) or are made (client), it
// drains, it ends. HTTP/1.1 and HTTP/2 both offer it, so pools and listeners know no version.
//
// Nobody flushes: what streams write leaves at the end of the loop's turn.

import type { Header } from '../h2/header.ts';
import type { HttpStream, HttpStreamHandler, HttpVersion } from './stream.ts';

export interface HttpServerHandler {
  /**
   * A well-formed request. Returns who handles it; undefined if it was answered in full here, or to refuse it (HTTP/2:
   * RST_STREAM, HTTP/1.1: the connection ends). With `endStream` the handler's `onEnd` follows. An upgrade (`:upgrade`
   * in the list) never comes with `endStream`: its bytes follow after the 101.
   */
  onRequest(
    stream: HttpStream,
    headers: readonly Header[],
    endStream: boolean,
  ): HttpStreamHandler | undefined;
  /** A request was refused by the connection itself, answered with `status`; `reason` is for the log. */
  onRefused?(status: number, reason: string): void;
  /** The connection is gone, after every open stream got onReset; `reason` is undefined after an orderly end. Once. */
  onClosed(reason: string | undefined): void;
}

export interface HttpServerConnection {
  /** Of the newest request, for the access log. */
  readonly version: HttpVersion;
  /** Requests under way. */
  readonly openStreams: number;
  /** No further requests: those under way are served, then the connection ends. Idempotent. */
  drain(): void;
  /** Ends at once; open streams get onReset(CONNECT_ERROR), then onClosed comes. Idempotent. */
  destroy(): void;
}

export interface HttpClientHandler {
  /** A request can be made again: after a time in which `canOpen` was false. Not called for the first time it is true. */
  onAvailable(): void;
  /**
   * No request will be taken any more, as after GOAWAY or `Connection: close`. Once, always before onClosed; also from
   * inside drain() and destroy().
   */
  onRetired(): void;
  /** The connection is gone, after every open stream got onReset; `reason` is undefined after an orderly end. Once. */
  onClosed(reason: string | undefined): void;
}

export interface HttpClientConnection {
  readonly version: HttpVersion;
  /** Whether request() would begin one now. */
  readonly canOpen: boolean;
  /** Requests under way. */
  readonly openStreams: number;
  /**
   * Begins a request: `headers` in the form of stream.ts, pseudo headers first. Undefined if `canOpen` is false. Throws
   * H2Error INTERNAL_ERROR if a header can not be sent. The handler is never called from inside.
   */
  request(headers: readonly Header[], endStream: boolean, handler: HttpStreamHandler): HttpStream | undefined;
  /** No further requests: those under way are served, then the connection ends. Idempotent. */
  drain(): void;
  /** Ends at once; open streams get onReset(CONNECT_ERROR), then onClosed comes. Idempotent. */
  destroy(): void;
}
