// One HTTP/2 connection, client or server, without I/O: bytes come in by receive(), go out by an H2Transport.
// Owns the connection's life: opening, GOAWAY, errors, the end. Everything is synchronous and callback-based, nothing is
// allocated per DATA chunk. Invariant: after onClosed nothing is written and nobody is called.

import type { Slab } from '../io/slab.ts';
import { ErrorCode, errorName, H2Error } from './error.ts';
import { MAX_UINT31 } from './frame.ts';
import { Guard, type H2Limits } from './guard.ts';
import type { Header } from './header.ts';
import { SessionInbound } from './session-inbound.ts';
import { FrameReader } from './session-reader.ts';
import { FrameWriter } from './session-writer.ts';
import { checkLocalSettings, type LocalSettings, type RemoteSettings } from './settings.ts';
import type { H2Stream, StreamHandler } from './stream.ts';
import { StreamSet } from './stream-set.ts';
import type { H2Transport } from './transport.ts';

export interface H2SessionOptions {
  readonly role: 'client' | 'server';
  readonly settings: LocalSettings;
  /** Receive window of the connection, octets; values below 65535 count as 65535. */
  readonly connectionWindow: number;
  readonly limits?: Partial<H2Limits>;
  /** Type (10 to 255) of an extension frame that both ends may know; see onExtension. */
  readonly extension?: number;
  /** Monotonic ms: the flood limits forgive with time, or years of keepalive PINGs would amount to a flood. */
  readonly now: () => number;
}

export interface H2SessionHandler {
  /**
   * Server: a new, well-formed request. Returns who handles it; undefined if it was answered in full here, or to refuse it.
   * With `endStream` the handler's `onEnd` follows.
   */
  onStream?(stream: H2Stream, headers: readonly Header[], endStream: boolean): StreamHandler | undefined;
  /** The peer takes no new streams; those above `lastStreamId` get onReset(REFUSED_STREAM) right after. May come twice. */
  onGoaway?(lastStreamId: number, code: number, debug: string): void;
  /** Answer to ping(); 8 octets, valid during the call. */
  onPong?(payload: Uint8Array): void;
  /** The extension frame of the options arrived; `payload` (at most 1024 octets) is valid during the call. */
  onExtension?(streamId: number, payload: Buffer): void;
  /** SETTINGS of the peer arrived and hold already. */
  onSettings?(): void;
  /** Once, after every open stream got onReset; undefined if nothing went wrong. */
  onClosed(error: H2Error | undefined): void;
}

export class H2Session {
  readonly #handler: H2SessionHandler;
  readonly #options: H2SessionOptions;
  readonly #writer: FrameWriter;
  readonly #streams: StreamSet;
  readonly #reader: FrameReader;
  #closed = false;
  #goawayReceived = false;
  /** Last stream id of the GOAWAY we sent; -1 before. */
  #goawaySent = -1;

  /** Throws H2Error INTERNAL_ERROR for settings out of range. Nothing is sent before start(). */
  constructor(transport: H2Transport, handler: H2SessionHandler, options: H2SessionOptions) {
    checkLocalSettings(options.settings);
    this.#handler = handler;
    this.#options = options;
    const { role, settings, connectionWindow } = options;
    const guard = new Guard(options);
    this.#writer = new FrameWriter(transport, guard.limits);
    this.#streams = new StreamSet({ role, settings, connectionWindow, writer: this.#writer, guard });
    // Encoded, a list is smaller than counted; a peer that sends twice the limit is not merely over it.
    const maxHeaderBlock = 2 * settings.maxHeaderListSize + 4096;
    const inbound = new SessionInbound({
      role,
      settings,
      streams: this.#streams,
      writer: this.#writer,
      guard,
      maxHeaderBlock,
      events: {
        request: (stream, headers, endStream) => handler.onStream?.(stream, headers, endStream),
        excluded: (streamId) => this.#goawaySent >= 0 && streamId > this.#goawaySent,
        goaway: (lastStreamId, code, debug) => this.#peerGoaway(lastStreamId, code, debug),
        pong: (payload) => handler.onPong?.(payload),
        settings: () => handler.onSettings?.(),
        extension: (streamId, payload) => handler.onExtension?.(streamId, payload),
      },
    });
    this.#reader = new FrameReader(inbound, {
      expectPreface: role === 'server',
      maxFrameSize: settings.maxFrameSize,
      maxHeaderFragment: maxHeaderBlock,
      extension: options.extension ?? -1,
    });
  }

  /** Streams that are open or half closed. */
  get openStreams(): number {
    return this.#streams.size;
  }

  /** What the peer announced; the protocol's initial values until `remote.received`. */
  get remote(): RemoteSettings {
    return this.#streams.remote;
  }

  /** GOAWAY was sent or received: no new streams of our own. */
  get draining(): boolean {
    return this.#goawayReceived || this.#goawaySent >= 0;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether request() would open a stream now. */
  get canOpen(): boolean {
    return !this.#closed && !this.draining && this.#options.role === 'client' && this.#streams.canOpen;
  }

  /** Sends the preface (client), SETTINGS and the connection's WINDOW_UPDATE. Once, before anything else. */
  start(): void {
    this.#writer.opening(this.#options.settings, this.#options.role);
    this.#streams.received.open();
    this.flush();
  }

  /** Feeds octets from the peer; calls handlers, resumes streams whose windows opened, flushes. Not from within a callback. */
  receive(slab: Slab, offset: number, length: number): void {
    if (this.#closed) return;
    try {
      this.#reader.read(slab, offset, length);
      if (!this.#closed) this.#streams.scheduler.resume();
    } catch (error) {
      if (error instanceof H2Error) {
        this.#fail(error);
        return;
      }
      this.#fail(new H2Error('INTERNAL_ERROR', 'Handling a frame: a callback threw'));
      throw error;
    }
    this.flush();
  }

  /**
   * The transport has room again. It must call this when `room()` grows after a flush() left it too small for a frame:
   * sessions wait for it when a flush does not help.
   */
  onTransportWritable(): void {
    if (this.#closed) return;
    this.#writer.drain();
    this.#streams.scheduler.resume();
    this.flush();
  }

  /** Sends what streams wrote outside of receive() and onTransportWritable(). Cheap if there is nothing. */
  flush(): void {
    if (this.#closed) return;
    const { overflow } = this.#writer;
    if (overflow !== undefined) this.#fail(overflow);
    else this.#writer.flush();
  }

  /**
   * Client: opens a stream. `headers` as RFC 9113 section 8.3 orders them, pseudo headers first. Undefined if `canOpen` is
   * false. Throws H2Error INTERNAL_ERROR if a header can not be sent. Call flush() after it.
   */
  request(headers: readonly Header[], endStream: boolean, handler: StreamHandler): H2Stream | undefined {
    return this.canOpen ? this.#streams.open(headers, endStream, handler) : undefined;
  }

  /** Sends PING with 8 octets of `payload`; onPong brings them back. */
  ping(payload: Uint8Array): void {
    if (!this.#closed) this.#writer.ping(payload, 0, false);
  }

  /** Sends the extension frame of the options on a stream; at most 1024 octets. No effect without that option. */
  sendExtension(streamId: number, payload: Buffer): void {
    const { extension } = this.#options;
    if (!this.#closed && extension !== undefined) this.#writer.extension(extension, streamId, payload);
  }

  /**
   * Announces that no new streams are wanted. A server's first call without `lastStreamId` is the graceful one: it names
   * 2^31-1, still accepts what is in flight, and is to be followed by a second one after a round trip (RFC 9113 section 6.8).
   */
  goaway(code: number, lastStreamId?: number): void {
    if (this.#closed) return;
    const graceful = this.#options.role === 'server' && code === ErrorCode.NO_ERROR && this.#goawaySent < 0;
    const wanted = lastStreamId ?? (graceful ? MAX_UINT31 : this.#streams.lastPeerId);
    this.#goawaySent = this.#goawaySent < 0 ? wanted : Math.min(wanted, this.#goawaySent);
    this.#writer.goaway(this.#goawaySent, code, '');
    this.flush();
  }

  /** Ends the connection: GOAWAY, open streams get onReset, the transport ends. Idempotent. */
  close(code: number, debug = ''): void {
    if (this.#closed) return;
    const error =
      code === ErrorCode.NO_ERROR ? undefined : new H2Error(errorName(code), debug || 'Closed by its owner');
    this.#end(code, debug, error);
  }

  /** The connection below is gone; nothing more is written. Idempotent. */
  transportClosed(): void {
    if (this.#closed) return;
    const open = this.#streams.size;
    this.#closed = true;
    this.#reader.stop();
    const error =
      open === 0
        ? undefined
        : new H2Error('CONNECT_ERROR', `Connection was closed under ${open} open streams`);
    this.#dropStreams(ErrorCode.CONNECT_ERROR);
    this.#handler.onClosed(error);
  }

  #fail(error: H2Error): void {
    if (!this.#closed) this.#end(ErrorCode[error.code], error.message, error);
  }

  #end(code: number, debug: string, error: H2Error | undefined): void {
    this.#closed = true;
    this.#reader.stop();
    this.#writer.finish(this.#streams.lastPeerId, code, debug);
    // NO_ERROR and CANCEL read as a clean end at many owners; a stream cut with its connection is none.
    this.#dropStreams(code === ErrorCode.NO_ERROR ? ErrorCode.CONNECT_ERROR : code);
    this.#handler.onClosed(error);
  }

  #dropStreams(code: number): void {
    this.#writer.mute();
    this.#streams.loseAll(code);
  }

  #peerGoaway(lastStreamId: number, code: number, debug: string): void {
    this.#goawayReceived = true;
    this.#handler.onGoaway?.(lastStreamId, code, debug);
    // For a server the id speaks of pushed streams, of which there are none.
    if (this.#options.role === 'client') this.#streams.loseAbove(lastStreamId, ErrorCode.REFUSED_STREAM);
  }
}
