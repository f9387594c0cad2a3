// Acts on the frames of the peer: stream states, windows, settings (RFC 9113 sections 5, 6 and 8).
// Throws H2Error for what ends the connection; what ends one stream goes to StreamSet.fail.

import type { Slab } from '../io/slab.ts';
import { ErrorCode, H2Error } from './error.ts';
import { FrameFlag, FrameType, MAX_UINT31, readUint31, readUint32 } from './frame.ts';
import type { Guard } from './guard.ts';
import { type Header, headerValue } from './header.ts';
import { HeaderBlock, requireOtherStream } from './header-block.ts';
import { contentLength, requestFault, responseFault, trailersFault } from './header-validation.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import type { ControlFrame, FrameSink } from './session-reader.ts';
import { ENDED, IDLE, OPEN, type SessionStream } from './session-stream.ts';
import type { FrameWriter } from './session-writer.ts';
import { applySettings, type LocalSettings } from './settings.ts';
import type { H2Stream, StreamHandler } from './stream.ts';
import type { StreamSet } from './stream-set.ts';

/** What the session's owner is told; see H2SessionHandler. */
export interface InboundEvents {
  request(stream: H2Stream, headers: readonly Header[], endStream: boolean): StreamHandler | undefined;
  /** Whether a new stream of the peer is above the last id of a GOAWAY we sent. */
  excluded(streamId: number): boolean;
  goaway(lastStreamId: number, code: number, debug: string): void;
  pong(payload: Uint8Array): void;
  settings(): void;
  extension(streamId: number, payload: Buffer): void;
}

const discard: StreamHandler = {
  onData: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
};

const TOO_LARGE: readonly Header[] = [[':status', '431']];

export class SessionInbound implements FrameSink {
  readonly #role: 'client' | 'server';
  readonly #settings: LocalSettings;
  readonly #streams: StreamSet;
  readonly #writer: FrameWriter;
  readonly #guard: Guard;
  readonly #events: InboundEvents;
  readonly #decoder: HpackDecoder;
  readonly #block: HeaderBlock;
  /** Stream of the DATA frame being read; undefined if its octets are to be thrown away. */
  #dataStream: SessionStream | undefined = undefined;
  #dataEnds = false;
  #dataBytes = 0;
  #settingsUnacknowledged = true;

  constructor(options: {
    readonly role: 'client' | 'server';
    readonly settings: LocalSettings;
    readonly streams: StreamSet;
    readonly writer: FrameWriter;
    readonly guard: Guard;
    readonly events: InboundEvents;
    readonly maxHeaderBlock: number;
  }) {
    this.#role = options.role;
    this.#settings = options.settings;
    this.#streams = options.streams;
    this.#writer = options.writer;
    this.#guard = options.guard;
    this.#events = options.events;
    this.#block = new HeaderBlock(options.guard, options.maxHeaderBlock);
    this.#decoder = new HpackDecoder({
      maxListBytes: options.settings.maxHeaderListSize,
      tableBytes: options.settings.headerTableSize ?? 4096,
    });
  }

  // DATA

  dataBegin(streamId: number, length: number, endStream: boolean): void {
    if (!this.#streams.received.take(length)) {
      throw new H2Error('FLOW_CONTROL_ERROR', 'Reading DATA: the peer exceeded the connection window');
    }
    this.#dataStream = undefined;
    this.#dataEnds = endStream;
    this.#dataBytes = 0;
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#dataOnAbsent(streamId);
    } else if (stream.remote !== OPEN) {
      this.#streams.fail(
        stream,
        stream.remote === ENDED ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR,
      );
    } else if (length > stream.receiveWindow) {
      this.#streams.fail(stream, ErrorCode.FLOW_CONTROL_ERROR);
    } else {
      stream.receiveWindow -= length;
      this.#dataStream = stream;
    }
  }

  #dataOnAbsent(streamId: number): void {
    const absent = this.#streams.absent(streamId);
    if (absent === 'reset-by-us') return;
    if (absent === 'idle') throw new H2Error('PROTOCOL_ERROR', `Reading DATA: stream ${streamId} is idle`);
    this.#streams.refuse(streamId, ErrorCode.STREAM_CLOSED);
    this.#guard.charge('streamErrors');
  }

  dataChunk(slab: Slab, offset: number, length: number): void {
    this.#dataBytes += length;
    // On receipt, not on consumption: a stream that is not read stops itself, never the others of its connection.
    this.#streams.received.giveBack(length);
    const stream = this.#dataStream;
    if (stream === undefined || stream.gone) return;
    stream.unconsumed += length;
    if (stream.bodyLeft >= 0) {
      if (length > stream.bodyLeft) {
        this.#streams.fail(stream, ErrorCode.PROTOCOL_ERROR);
        return;
      }
      stream.bodyLeft -= length;
    }
    stream.handler.onData(slab, offset, length);
  }

  dataEnd(padding: number): void {
    if (padding > 0) this.#streams.received.giveBack(padding);
    if (this.#dataBytes > 0) this.#guard.usefulFrame(this.#dataBytes);
    else if (!this.#dataEnds) this.#guard.charge('emptyFrames');
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (stream === undefined || stream.gone) return;
    if (padding > 0) this.#streams.creditStream(stream, padding);
    if (this.#dataEnds) this.#endRemote(stream);
  }

  #endRemote(stream: SessionStream): void {
    // RFC 9113 section 8.1.1: a body shorter than its content-length is malformed.
    if (stream.bodyLeft > 0) this.#streams.fail(stream, ErrorCode.PROTOCOL_ERROR);
    else this.#streams.endRemote(stream);
  }

  // All other frames

  frame(frame: ControlFrame): void {
    const onConnection =
      frame.type === FrameType.SETTINGS || frame.type === FrameType.PING || frame.type === FrameType.GOAWAY;
    const anywhere = frame.type === FrameType.WINDOW_UPDATE || frame.type > FrameType.CONTINUATION;
    if (onConnection !== (frame.streamId === 0) && !anywhere) {
      throw new H2Error('PROTOCOL_ERROR', `Reading a frame: type ${frame.type} on stream ${frame.streamId}`);
    }
    switch (frame.type) {
      case FrameType.HEADERS:
      case FrameType.CONTINUATION:
        if (this.#block.add(frame)) this.#headers();
        break;
      case FrameType.PRIORITY:
        requireOtherStream(frame, frame.start);
        this.#guard.charge('ignoredFrames');
        break;
      case FrameType.RST_STREAM:
        this.#resetStream(frame.streamId, readUint32(frame.bytes, frame.start));
        break;
      case FrameType.SETTINGS:
        this.#settingsFrame(frame);
        break;
      case FrameType.PING:
        this.#ping(frame);
        break;
      case FrameType.GOAWAY:
        this.#goaway(frame);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#windowUpdate(frame.streamId, readUint31(frame.bytes, frame.start));
        break;
      default:
        this.#guard.charge('ignoredFrames');
        this.#events.extension(frame.streamId, frame.bytes.subarray(frame.start, frame.end));
    }
  }

  ignoredFrame(): void {
    this.#guard.charge('ignoredFrames');
  }

  #resetStream(streamId: number, code: number): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (this.#streams.absent(streamId) === 'idle') {
        throw new H2Error('PROTOCOL_ERROR', `Reading RST_STREAM: stream ${streamId} is idle`);
      }
      this.#guard.charge('ignoredFrames');
      return;
    }
    const early = this.#role === 'server' && !stream.answered;
    this.#streams.lose(stream, code);
    if (early) this.#guard.charge('earlyResets');
  }

  #settingsFrame(frame: ControlFrame): void {
    if ((frame.flags & FrameFlag.ACK) !== 0) {
      if (!this.#settingsUnacknowledged) this.#guard.charge('settings');
      this.#settingsUnacknowledged = false;
      this.#streams.settingsAcknowledged();
      this.#decoder.tableSizeAcknowledged(this.#settings.headerTableSize ?? 4096);
      return;
    }
    this.#guard.charge('settings');
    const next = applySettings(this.#streams.remote, frame, this.#role);
    if (!this.#streams.applyRemote(next)) {
      throw new H2Error(
        'FLOW_CONTROL_ERROR',
        'Reading SETTINGS: INITIAL_WINDOW_SIZE overflows a stream window',
      );
    }
    this.#writer.settingsAck();
    this.#events.settings();
  }

  #ping(frame: ControlFrame): void {
    if ((frame.flags & FrameFlag.ACK) !== 0) {
      this.#events.pong(frame.bytes.subarray(frame.start, frame.end));
      return;
    }
    this.#guard.charge('pings');
    this.#writer.ping(frame.bytes, frame.start, true);
  }

  #goaway(frame: ControlFrame): void {
    const { bytes, start, end } = frame;
    const debug = bytes.toString('latin1', start + 8, end).replace(/[^\x20-\x7e]/g, '?');
    this.#guard.charge('settings'); // as rare as SETTINGS, and as pointless to repeat
    this.#events.goaway(readUint31(bytes, start), readUint32(bytes, start + 4), debug);
  }

  #windowUpdate(streamId: number, increment: number): void {
    this.#guard.charge('windowUpdates');
    if (streamId === 0) {
      const { scheduler } = this.#streams;
      if (increment === 0) throw new H2Error('PROTOCOL_ERROR', 'Reading WINDOW_UPDATE: increment 0');
      if (scheduler.window + increment > MAX_UINT31) {
        throw new H2Error('FLOW_CONTROL_ERROR', 'Reading WINDOW_UPDATE: the connection window overflows');
      }
      scheduler.window += increment;
      return;
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (this.#streams.absent(streamId) !== 'idle') return;
      throw new H2Error('PROTOCOL_ERROR', `Reading WINDOW_UPDATE: stream ${streamId} is idle`);
    }
    if (increment === 0) this.#streams.fail(stream, ErrorCode.PROTOCOL_ERROR);
    else if (stream.sendWindow + increment > MAX_UINT31)
      this.#streams.fail(stream, ErrorCode.FLOW_CONTROL_ERROR);
    else {
      stream.sendWindow += increment;
      this.#streams.scheduler.windowOpened(stream);
    }
  }

  // Headers

  #headers(): void {
    const { streamId, endStream, bytes, start, end } = this.#block;
    const headers = this.#decoder.decode(bytes, start, end);
    this.#block.release();
    const stream = this.#streams.get(streamId);
    if (stream === undefined) this.#headersOnAbsent(streamId, headers, endStream);
    else if (stream.remote === ENDED) this.#streams.fail(stream, ErrorCode.STREAM_CLOSED);
    else if (this.#decoder.oversize) this.#streams.fail(stream, ErrorCode.ENHANCE_YOUR_CALM);
    else if (stream.remote === IDLE) this.#response(stream, headers, endStream);
    else this.#trailers(stream, headers, endStream);
  }

  #headersOnAbsent(streamId: number, headers: readonly Header[], endStream: boolean): void {
    const absent = this.#streams.absent(streamId);
    if (absent === 'reset-by-us') return;
    if (absent === 'ended') {
      const code =
        this.#role === 'client' || this.#streams.hasBegun(streamId) ? 'STREAM_CLOSED' : 'PROTOCOL_ERROR';
      throw new H2Error(code, `Reading HEADERS: stream ${streamId} is closed`);
    }
    if (this.#role === 'client' || (streamId & 1) === 0) {
      throw new H2Error('PROTOCOL_ERROR', `Reading HEADERS: stream ${streamId} can not be begun by the peer`);
    }
    this.#streams.begin(streamId);
    if (this.#events.excluded(streamId)) {
      this.#streams.ignore(streamId);
    } else if (this.#streams.size >= this.#settings.maxConcurrentStreams) {
      this.#streams.refuse(streamId, ErrorCode.REFUSED_STREAM);
      this.#guard.charge('streamErrors');
    } else if (this.#decoder.oversize) {
      this.#streams.answer(streamId, TOO_LARGE, endStream);
      this.#guard.charge('streamErrors');
    } else {
      this.#request(streamId, headers, endStream);
    }
  }

  #request(streamId: number, headers: readonly Header[], endStream: boolean): void {
    const fault = requestFault(headers, {
      enableConnectProtocol: this.#settings.enableConnectProtocol === true,
    });
    const body = headerValue(headers, ':method') === 'CONNECT' ? -1 : contentLength(headers);
    if (fault !== undefined || body === undefined || (endStream && body > 0)) {
      this.#streams.refuse(streamId, ErrorCode.PROTOCOL_ERROR);
      this.#guard.charge('streamErrors');
      return;
    }
    const stream = this.#streams.accept(streamId, discard);
    stream.bodyLeft = body;
    const handler = this.#events.request(stream, headers, endStream);
    if (stream.gone) {
      // The connection was lost before there was a handler to tell.
      if (stream.lostCode >= 0) handler?.onReset(stream.lostCode);
      return;
    }
    if (handler !== undefined) {
      stream.handler = handler;
    } else if (stream.local !== ENDED) {
      this.#streams.reset(stream, ErrorCode.REFUSED_STREAM);
      return;
    } else if (!endStream) {
      // RFC 9113 section 8.1: answered in full, the rest of the request is not wanted.
      this.#streams.reset(stream, ErrorCode.NO_ERROR);
      return;
    }
    if (endStream) this.#streams.endRemote(stream);
  }

  #response(stream: SessionStream, headers: readonly Header[], endStream: boolean): void {
    const status = headerValue(headers, ':status') ?? '';
    const informational = status.startsWith('1');
    const bodiless = stream.bodiless || status === '204' || status === '304';
    const body = bodiless ? -1 : contentLength(headers);
    const malformed = responseFault(headers) !== undefined || (informational && endStream);
    if (malformed || body === undefined || (endStream && body > 0)) {
      this.#streams.fail(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (!informational) {
      stream.remote = OPEN;
      stream.bodyLeft = body;
    }
    stream.handler.onHeaders?.(headers, endStream);
    if (endStream && !stream.gone) this.#streams.endRemote(stream);
  }

  #trailers(stream: SessionStream, headers: readonly Header[], endStream: boolean): void {
    if (!endStream || trailersFault(headers) !== undefined || stream.bodyLeft > 0) {
      this.#streams.fail(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.handler.onHeaders?.(headers, true);
    if (!stream.gone) this.#endRemote(stream);
  }
}
