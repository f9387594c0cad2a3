// Puts frames on the transport. Frames other than DATA that find no room wait in a bounded queue, in order;
// while anything waits no DATA may pass it. Invariant: a frame once begun is never interleaved with another.

import { Slab } from '../io/slab.ts';
import { ErrorCode, H2Error } from './error.ts';
import {
  CONNECTION_PREFACE,
  FRAME_HEADER_BYTES,
  FrameFlag,
  FrameType,
  writeFrameHeader,
  writeUint32,
} from './frame.ts';
import type { H2Limits } from './guard.ts';
import type { Header } from './header.ts';
import { encodedBound, HpackEncoder } from './hpack/encoder.ts';
import { type LocalSettings, writeSettings } from './settings.ts';
import type { H2Transport } from './transport.ts';

/** Kept free by DATA so that answers rarely have to wait: a WINDOW_UPDATE pair, a PING and a few RST_STREAM. */
const CONTROL_RESERVE = 128;

/** Largest header list sent, encoded; no known peer accepts near as much. */
const MAX_HEADER_BLOCK = 1 << 20;

// Shared by all sessions of the thread: a frame is copied out by the transport or the queue before the next is built.
let scratch: Slab | undefined;

function scratchOf(bytes: number): Slab {
  if (scratch === undefined || scratch.bytes.length < bytes) scratch = new Slab(Math.max(bytes, 16_384));
  return scratch;
}

export class FrameWriter {
  readonly #transport: H2Transport;
  readonly #limits: H2Limits;
  readonly #encoder = new HpackEncoder();
  #queue: Slab | undefined;
  #queueStart = 0;
  #queueEnd = 0;
  /** Of the queued octets, those of answers to the peer. */
  #queuedReplies = 0;
  #overflow: H2Error | undefined;
  #dirty = false;
  #muted = false;

  constructor(transport: H2Transport, limits: H2Limits) {
    this.#transport = transport;
    this.#limits = limits;
  }

  /** Set once the queue's bound was exceeded: the session must end. Nothing is written after that. */
  get overflow(): H2Error | undefined {
    return this.#overflow;
  }

  /** True while frames wait for room. */
  get waiting(): boolean {
    return this.#queueEnd > this.#queueStart;
  }

  setTableLimit(bytes: number): void {
    this.#encoder.setTableLimit(bytes);
  }

  /** DATA payload octets the transport takes now; 0 while other frames wait. */
  dataRoom(): number {
    if (this.waiting) return 0;
    const room = this.#transport.room() - FRAME_HEADER_BYTES - CONTROL_RESERVE;
    return room > 0 ? room : 0;
  }

  /** Sends what was written, if anything was, and what waited for the room that makes. */
  flush(): void {
    if (!this.#dirty && !this.waiting) return;
    do {
      this.#dirty = false;
      this.#transport.flush();
      this.drain();
    } while (this.#dirty);
  }

  /** Makes room for DATA: what the transport still holds back is sent at once. */
  makeRoom(): number {
    this.#dirty = true;
    this.flush();
    return this.dataRoom();
  }

  /** Moves waiting frames to the transport as far as it has room. */
  drain(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    const length = Math.min(this.#queueEnd - this.#queueStart, this.#transport.room());
    if (length > 0) {
      this.#dirty = true;
      this.#transport.write(queue, this.#queueStart, length);
      this.#queueStart += length;
    }
    if (this.#queueStart < this.#queueEnd) return;
    this.#queue = undefined;
    this.#queueStart = 0;
    this.#queueEnd = 0;
    this.#queuedReplies = 0;
  }

  /** Sends the frame in place: its header goes into the 9 octets before `offset`. Needs `dataRoom()` of `length`. */
  data(slab: Slab, offset: number, length: number, endStream: boolean, streamId: number): void {
    if (this.#muted) return;
    const at = offset - FRAME_HEADER_BYTES;
    writeFrameHeader(slab.bytes, at, length, FrameType.DATA, endStream ? FrameFlag.END_STREAM : 0, streamId);
    this.#dirty = true;
    this.#transport.write(slab, at, length + FRAME_HEADER_BYTES);
  }

  endOfData(streamId: number): void {
    const slab = scratchOf(FRAME_HEADER_BYTES);
    writeFrameHeader(slab.bytes, 0, 0, FrameType.DATA, FrameFlag.END_STREAM, streamId);
    this.#emit(slab, 0, FRAME_HEADER_BYTES, false);
  }

  /** HEADERS and, beyond `maxFrameSize`, CONTINUATION. Throws H2Error INTERNAL_ERROR for lists that can not be sent. */
  headers(
    headers: readonly Header[],
    options: { readonly streamId: number; readonly endStream: boolean; readonly maxFrameSize: number },
  ): void {
    const bound = encodedBound(headers);
    if (bound > MAX_HEADER_BLOCK) {
      throw new H2Error(
        'INTERNAL_ERROR',
        `Sending headers: about ${bound} octets exceed ${MAX_HEADER_BLOCK}`,
      );
    }
    const slab = scratchOf(FRAME_HEADER_BYTES + bound);
    const end = this.#encoder.encode(headers, slab.bytes, FRAME_HEADER_BYTES);
    let type: number = FrameType.HEADERS;
    let flags: number = options.endStream ? FrameFlag.END_STREAM : 0;
    let at = FRAME_HEADER_BYTES;
    do {
      const length = Math.min(end - at, options.maxFrameSize);
      if (at + length === end) flags |= FrameFlag.END_HEADERS;
      // The header of a CONTINUATION overwrites octets that were sent with the frame before.
      writeFrameHeader(slab.bytes, at - FRAME_HEADER_BYTES, length, type, flags, options.streamId);
      this.#emit(slab, at - FRAME_HEADER_BYTES, length + FRAME_HEADER_BYTES, false);
      at += length;
      type = FrameType.CONTINUATION;
      flags = 0;
    } while (at < end);
  }

  /** The client's preface and both sides' SETTINGS (RFC 9113 section 3.4). */
  opening(settings: LocalSettings, role: 'client' | 'server'): void {
    const slab = scratchOf(256);
    const start = role === 'client' ? CONNECTION_PREFACE.copy(slab.bytes) : 0;
    const payload = start + FRAME_HEADER_BYTES;
    const end = writeSettings(settings, role, { bytes: slab.bytes, at: payload });
    writeFrameHeader(slab.bytes, start, end - payload, FrameType.SETTINGS, 0, 0);
    this.#emit(slab, 0, end, false);
  }

  settingsAck(): void {
    const slab = scratchOf(FRAME_HEADER_BYTES);
    writeFrameHeader(slab.bytes, 0, 0, FrameType.SETTINGS, FrameFlag.ACK, 0);
    this.#emit(slab, 0, FRAME_HEADER_BYTES, true);
  }

  /** @param payload 8 octets at `start` of `bytes`. */
  ping(bytes: Uint8Array, start: number, ack: boolean): void {
    const slab = scratchOf(FRAME_HEADER_BYTES + 8);
    writeFrameHeader(slab.bytes, 0, 8, FrameType.PING, ack ? FrameFlag.ACK : 0, 0);
    for (let i = 0; i < 8; i += 1) slab.bytes[FRAME_HEADER_BYTES + i] = bytes[start + i] as number;
    this.#emit(slab, 0, FRAME_HEADER_BYTES + 8, ack);
  }

  windowUpdate(streamId: number, increment: number): void {
    this.#word(FrameType.WINDOW_UPDATE, streamId, increment);
  }

  resetStream(streamId: number, code: number): void {
    this.#word(FrameType.RST_STREAM, streamId, code);
  }

  /** @param payload at most 1024 octets; a peer that does not know the type ignores it (RFC 9113 section 5.5). */
  extension(type: number, streamId: number, payload: Buffer): void {
    const slab = scratchOf(FRAME_HEADER_BYTES + payload.length);
    writeFrameHeader(slab.bytes, 0, payload.length, type, 0, streamId);
    payload.copy(slab.bytes, FRAME_HEADER_BYTES);
    this.#emit(slab, 0, FRAME_HEADER_BYTES + payload.length, false);
  }

  goaway(lastStreamId: number, code: number, debug: string): void {
    const text = Buffer.from(debug.slice(0, 200), 'latin1');
    const slab = scratchOf(FRAME_HEADER_BYTES + 8 + text.length);
    writeFrameHeader(slab.bytes, 0, 8 + text.length, FrameType.GOAWAY, 0, 0);
    writeUint32(slab.bytes, FRAME_HEADER_BYTES, lastStreamId);
    writeUint32(slab.bytes, FRAME_HEADER_BYTES + 4, code);
    text.copy(slab.bytes, FRAME_HEADER_BYTES + 8);
    this.#emit(slab, 0, FRAME_HEADER_BYTES + 8 + text.length, false);
  }

  /** The connection is over: whatever is still written goes nowhere. */
  mute(): void {
    this.#muted = true;
    this.#queue = undefined;
    this.#queueStart = 0;
    this.#queueEnd = 0;
  }

  /** Last words and the end of the transport; a transport without room for them is dropped. */
  finish(lastStreamId: number, code: number, debug: string): void {
    this.drain();
    this.#overflow = undefined;
    if (!this.waiting) this.goaway(lastStreamId, code, debug);
    const stuck = this.waiting;
    this.mute();
    if (stuck && code !== ErrorCode.NO_ERROR) {
      this.#transport.destroy();
      return;
    }
    this.flush();
    this.#transport.end();
  }

  #word(type: number, streamId: number, value: number): void {
    const slab = scratchOf(FRAME_HEADER_BYTES + 4);
    writeFrameHeader(slab.bytes, 0, 4, type, 0, streamId);
    writeUint32(slab.bytes, FRAME_HEADER_BYTES, value);
    this.#emit(slab, 0, FRAME_HEADER_BYTES + 4, true);
  }

  #emit(slab: Slab, offset: number, length: number, reply: boolean): void {
    if (this.#muted || this.#overflow !== undefined) return;
    if (!this.waiting && this.#transport.room() >= length) {
      this.#dirty = true;
      this.#transport.write(slab, offset, length);
      return;
    }
    if (reply) this.#queuedReplies += length;
    const queued = this.#queueEnd - this.#queueStart + length;
    if (queued > this.#limits.queuedBytes || this.#queuedReplies > this.#limits.queuedReplyBytes) {
      this.#overflow = new H2Error(
        'ENHANCE_YOUR_CALM',
        `Peer does not read: ${queued} octets of control frames wait`,
      );
      return;
    }
    this.#append(slab, offset, length);
  }

  #append(slab: Slab, offset: number, length: number): void {
    const held = this.#queueEnd - this.#queueStart;
    let queue = this.#queue;
    if (queue === undefined || queue.bytes.length < held + length) {
      const grown = new Slab(Math.max(4096, 2 * (held + length)));
      queue?.bytes.copy(grown.bytes, 0, this.#queueStart, this.#queueEnd);
      queue = grown;
      this.#queueStart = 0;
      this.#queueEnd = held;
    } else if (queue.bytes.length - this.#queueEnd < length) {
      queue.bytes.copyWithin(0, this.#queueStart, this.#queueEnd);
      this.#queueStart = 0;
      this.#queueEnd = held;
    }
    slab.bytes.copy(queue.bytes, this.#queueEnd, offset, offset + length);
    this.#queueEnd += length;
    this.#queue = queue;
  }
}
