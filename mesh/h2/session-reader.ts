// Cuts the byte stream into frames (RFC 9113 section 4.1) across any split of the input, and checks what can be checked
// without stream state: sizes, order of header blocks, the preface. DATA is handed on in pieces and never collected;
// other payloads are collected only if they do not lie in one piece, and only up to a bound.

import type { Slab } from '../io/slab.ts';
import { H2Error } from './error.ts';
import {
  CONNECTION_PREFACE,
  FRAME_HEADER_BYTES,
  FrameFlag,
  FrameType,
  readUint24,
  readUint31,
} from './frame.ts';

export interface FrameSink {
  /** A DATA frame begins; `length` is what flow control counts. */
  dataBegin(streamId: number, length: number, endStream: boolean): void;
  dataChunk(slab: Slab, offset: number, length: number): void;
  /** `padding` includes the pad length octet. */
  dataEnd(padding: number): void;
  /** Any other known frame, complete, except that GOAWAY's debug data may be cut. */
  frame(frame: ControlFrame): void;
  ignoredFrame(): void;
}

/** One object per reader, filled anew for each frame. */
export interface ControlFrame {
  type: number;
  flags: number;
  streamId: number;
  bytes: Buffer;
  start: number;
  end: number;
}

/** Debug data of a GOAWAY that is kept. */
const GOAWAY_KEPT = 8 + 256;

/** A SETTINGS frame of more entries than this has no good reason. */
const MAX_SETTINGS_BYTES = 6 * 128;

/** RFC 9113 section 5.5 lets extension frames be ignored; a long one is. */
const MAX_EXTENSION_BYTES = 1024;

const PREFACE = 0;
const HEADER = 1;
const PAD_LENGTH = 2;
const DATA = 3;
const PADDING = 4;
const CONTROL = 5;
const SKIP = 6;

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameSize: number;
  readonly #maxHeaderFragment: number;
  readonly #extension: number;

  #state: number;
  /** Octets of the current state's part that are still to come. */
  #left: number;
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  readonly #frame: ControlFrame;
  #collected: Buffer | undefined;
  #skipAfter = 0;
  #padding = 0;
  #dataLength = 0;
  #sawSettings = false;
  /** Stream whose header block is unfinished: only its CONTINUATION may follow. */
  #openBlock = 0;
  #stopped = false;

  constructor(
    sink: FrameSink,
    options: {
      readonly expectPreface: boolean;
      readonly maxFrameSize: number;
      readonly maxHeaderFragment: number;
      /** Type of the one extension frame that is handed on; -1 none. */
      readonly extension: number;
    },
  ) {
    this.#sink = sink;
    this.#maxFrameSize = options.maxFrameSize;
    this.#maxHeaderFragment = options.maxHeaderFragment;
    this.#extension = options.extension;
    this.#state = options.expectPreface ? PREFACE : HEADER;
    this.#left = options.expectPreface ? CONNECTION_PREFACE.length : FRAME_HEADER_BYTES;
    this.#frame = { type: 0, flags: 0, streamId: 0, bytes: this.#head, start: 0, end: 0 };
  }

  /** No frame is handed on any more, not even of octets already given. */
  stop(): void {
    this.#stopped = true;
    this.#collected = undefined;
  }

  /** Parses `length` octets at `offset`. Throws H2Error for errors that end the connection. */
  read(slab: Slab, offset: number, length: number): void {
    const end = offset + length;
    let at = offset;
    while (at < end && !this.#stopped) {
      const available = end - at;
      switch (this.#state) {
        case HEADER:
          at += this.#readHeader(slab, at, available);
          break;
        case DATA: {
          const take = available < this.#left ? available : this.#left;
          this.#left -= take;
          this.#sink.dataChunk(slab, at, take);
          at += take;
          if (this.#left === 0) this.#endData();
          break;
        }
        case CONTROL:
          at += this.#readControl(slab, at, available);
          break;
        case PAD_LENGTH:
          this.#beginPadded(slab.bytes[at] as number);
          at += 1;
          break;
        case PREFACE:
          at += this.#readPreface(slab, at, available);
          break;
        default: {
          // PADDING and SKIP
          const take = available < this.#left ? available : this.#left;
          this.#left -= take;
          at += take;
          if (this.#left === 0) this.#endSkipped();
        }
      }
    }
  }

  #readPreface(slab: Slab, at: number, available: number): number {
    const take = Math.min(available, this.#left);
    const from = CONNECTION_PREFACE.length - this.#left;
    if (slab.bytes.compare(CONNECTION_PREFACE, from, from + take, at, at + take) !== 0) {
      throw new H2Error('PROTOCOL_ERROR', 'Reading the connection preface: the peer does not speak HTTP/2');
    }
    this.#left -= take;
    if (this.#left === 0) this.#nextFrame();
    return take;
  }

  #readHeader(slab: Slab, at: number, available: number): number {
    if (this.#left === FRAME_HEADER_BYTES && available >= FRAME_HEADER_BYTES) {
      this.#begin(slab.bytes, at);
      return FRAME_HEADER_BYTES;
    }
    const take = Math.min(available, this.#left);
    slab.bytes.copy(this.#head, FRAME_HEADER_BYTES - this.#left, at, at + take);
    this.#left -= take;
    if (this.#left === 0) this.#begin(this.#head, 0);
    return take;
  }

  #nextFrame(): void {
    this.#state = HEADER;
    this.#left = FRAME_HEADER_BYTES;
  }

  #begin(bytes: Buffer, at: number): void {
    const length = readUint24(bytes, at);
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const streamId = readUint31(bytes, at + 5);
    if (length > this.#maxFrameSize) {
      throw new H2Error(
        'FRAME_SIZE_ERROR',
        `Reading a frame: ${length} octets exceed the limit ${this.#maxFrameSize}`,
      );
    }
    this.#checkOrder(type, flags, streamId);
    if (type === FrameType.DATA) this.#beginData(length, flags, streamId);
    else if (type > FrameType.CONTINUATION && (type !== this.#extension || length > MAX_EXTENSION_BYTES))
      this.#beginIgnored(length);
    else this.#beginControl(length, type, flags, streamId);
  }

  #checkOrder(type: number, flags: number, streamId: number): void {
    if (!this.#sawSettings) {
      if (type !== FrameType.SETTINGS || (flags & FrameFlag.ACK) !== 0) {
        throw new H2Error('PROTOCOL_ERROR', `Reading the first frame: type ${type} instead of SETTINGS`);
      }
      this.#sawSettings = true;
    }
    if (
      (type === FrameType.CONTINUATION) !== (this.#openBlock !== 0) ||
      (this.#openBlock !== 0 && this.#openBlock !== streamId)
    ) {
      throw new H2Error(
        'PROTOCOL_ERROR',
        `Reading a frame: type ${type} on stream ${streamId} breaks a header block`,
      );
    }
  }

  #beginData(length: number, flags: number, streamId: number): void {
    if (streamId === 0) throw new H2Error('PROTOCOL_ERROR', 'Reading DATA: on stream 0');
    this.#padding = 0;
    this.#dataLength = length;
    if ((flags & FrameFlag.PADDED) !== 0 && length === 0) {
      throw new H2Error('FRAME_SIZE_ERROR', 'Reading DATA: no room for the pad length');
    }
    this.#sink.dataBegin(streamId, length, (flags & FrameFlag.END_STREAM) !== 0);
    if ((flags & FrameFlag.PADDED) !== 0) {
      this.#state = PAD_LENGTH;
      return;
    }
    this.#state = DATA;
    this.#left = length;
    if (length === 0) this.#endData();
  }

  #beginPadded(padLength: number): void {
    const payload = this.#dataLength - 1 - padLength;
    if (payload < 0) throw new H2Error('PROTOCOL_ERROR', 'Reading DATA: padding exceeds the frame');
    this.#padding = padLength;
    this.#dataLength = -1;
    this.#state = DATA;
    this.#left = payload;
    if (payload === 0) this.#endData();
  }

  #endData(): void {
    if (this.#padding > 0) {
      this.#state = PADDING;
      this.#left = this.#padding;
      return;
    }
    this.#nextFrame();
    this.#sink.dataEnd(this.#dataLength < 0 ? 1 : 0);
  }

  #endSkipped(): void {
    const padding = this.#state === PADDING ? this.#padding : -1;
    this.#nextFrame();
    if (padding >= 0) this.#sink.dataEnd(padding + 1);
  }

  #beginIgnored(length: number): void {
    this.#state = SKIP;
    this.#left = length;
    if (length === 0) this.#nextFrame();
    this.#sink.ignoredFrame();
  }

  #beginControl(length: number, type: number, flags: number, streamId: number): void {
    const frame = this.#frame;
    frame.type = type;
    frame.flags = flags;
    frame.streamId = streamId;
    this.#checkSize(length, type, flags);
    if (type === FrameType.HEADERS || type === FrameType.CONTINUATION) {
      this.#openBlock = (flags & FrameFlag.END_HEADERS) === 0 ? streamId : 0;
    }
    const kept = type === FrameType.GOAWAY ? Math.min(length, GOAWAY_KEPT) : length;
    this.#skipAfter = length - kept;
    this.#state = CONTROL;
    this.#left = kept;
    if (kept === 0) this.#deliver(this.#head, 0, 0);
  }

  /** RFC 9113 sections 6.2 to 6.10; lengths that only break a stream are left to the sink. */
  #checkSize(length: number, type: number, flags: number): void {
    const ack = type === FrameType.SETTINGS && (flags & FrameFlag.ACK) !== 0;
    const wrong =
      ((type === FrameType.RST_STREAM || type === FrameType.WINDOW_UPDATE) && length !== 4) ||
      (type === FrameType.PING && length !== 8) ||
      (type === FrameType.PRIORITY && length !== 5) ||
      (type === FrameType.GOAWAY && length < 8) ||
      (type === FrameType.SETTINGS && (length % 6 !== 0 || (ack && length !== 0)));
    if (wrong)
      throw new H2Error('FRAME_SIZE_ERROR', `Reading a frame: ${length} octets are wrong for type ${type}`);
    if (type === FrameType.PUSH_PROMISE) {
      throw new H2Error('PROTOCOL_ERROR', 'Reading a frame: PUSH_PROMISE though push is not enabled');
    }
    const bound = type === FrameType.SETTINGS ? MAX_SETTINGS_BYTES : this.#maxHeaderFragment;
    if (length > bound && type !== FrameType.GOAWAY) {
      throw new H2Error(
        'ENHANCE_YOUR_CALM',
        `Reading a frame: ${length} octets of type ${type} exceed ${bound}`,
      );
    }
  }

  #readControl(slab: Slab, at: number, available: number): number {
    let collected = this.#collected;
    if (collected === undefined) {
      if (available >= this.#left) {
        const take = this.#left;
        this.#deliver(slab.bytes, at, at + take);
        return take;
      }
      collected = Buffer.allocUnsafe(this.#left);
      this.#collected = collected;
    }
    const take = Math.min(available, this.#left);
    slab.bytes.copy(collected, collected.length - this.#left, at, at + take);
    this.#left -= take;
    if (this.#left === 0) {
      this.#collected = undefined;
      this.#deliver(collected, 0, collected.length);
    }
    return take;
  }

  #deliver(bytes: Buffer, start: number, end: number): void {
    this.#nextFrame();
    if (this.#skipAfter > 0) {
      this.#state = SKIP;
      this.#left = this.#skipAfter;
    }
    const frame = this.#frame;
    frame.bytes = bytes;
    frame.start = start;
    frame.end = end;
    this.#sink.frame(frame);
    frame.bytes = this.#head;
  }
}
