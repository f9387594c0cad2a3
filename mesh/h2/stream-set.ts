// All streams of a session: opening, sending, credit, and the ways they end. Every change of a stream's state is made here.
// Invariant: a stream is in the map exactly as long as a frame or a callback for it is possible.

import type { Slab } from '../io/slab.ts';
import { ErrorCode, H2Error } from './error.ts';
import { DEFAULT_WINDOW, MAX_UINT31 } from './frame.ts';
import type { Guard } from './guard.ts';
import { type Header, headerValue } from './header.ts';
import { ReceiveWindow } from './receive-window.ts';
import { SendScheduler } from './send-scheduler.ts';
import { ENDED, IDLE, OPEN, SessionStream, type StreamPort } from './session-stream.ts';
import type { FrameWriter } from './session-writer.ts';
import { initialRemoteSettings, type LocalSettings, type RemoteSettings } from './settings.ts';
import type { StreamHandler } from './stream.ts';
import { StreamTable } from './stream-table.ts';

/** Streams we reset whose frames in flight are still tolerated; older ones are treated as streams that ended. */
const REMEMBERED_RESETS = 256;

/** What is known of a stream that is not in the map. */
export type Absent = 'idle' | 'reset-by-us' | 'ended';

export class StreamSet implements StreamPort {
  readonly scheduler: SendScheduler;
  readonly received: ReceiveWindow;
  readonly #role: 'client' | 'server';
  readonly #settings: LocalSettings;
  readonly #writer: FrameWriter;
  readonly #guard: Guard;
  readonly #streams = new StreamTable();
  #remote = initialRemoteSettings();
  #settingsAcknowledged = false;
  #ended = false;
  #nextLocalId = 1;
  #lastPeerId = 0;
  #resets: number[] = [];
  #resetCount = 0;
  /** Streams that began: the newest ones tell a stream that ended from one that was skipped over. */
  #begun: number[] = [];
  #begunCount = 0;

  constructor(options: {
    readonly role: 'client' | 'server';
    readonly settings: LocalSettings;
    readonly connectionWindow: number;
    readonly writer: FrameWriter;
    readonly guard: Guard;
  }) {
    this.#role = options.role;
    this.#settings = options.settings;
    this.#writer = options.writer;
    this.#guard = options.guard;
    this.scheduler = new SendScheduler(options.writer);
    this.received = new ReceiveWindow(options.writer, options.connectionWindow);
  }

  get size(): number {
    return this.#streams.size;
  }

  get remote(): RemoteSettings {
    return this.#remote;
  }

  /** Highest stream id the peer has used, for GOAWAY. */
  get lastPeerId(): number {
    return this.#lastPeerId;
  }

  /** False once the peer's limit or the ids are exhausted. Push is off, so on a client every stream is its own. */
  get canOpen(): boolean {
    return this.#nextLocalId <= MAX_UINT31 && this.#streams.size < this.#remote.maxConcurrentStreams;
  }

  get(streamId: number): SessionStream | undefined {
    return this.#streams.get(streamId);
  }

  /** Opens a stream of our own and sends its headers; undefined if the transport was lost in it. */
  open(headers: readonly Header[], endStream: boolean, handler: StreamHandler): SessionStream | undefined {
    const stream = this.#create(this.#nextLocalId, handler);
    const method = headerValue(headers, ':method');
    stream.bodiless = method === 'HEAD' || method === 'CONNECT';
    // Encoding may throw: nothing of the stream exists until it has succeeded.
    this.#writeHeaders(stream, headers, endStream);
    if (this.#ended) return undefined;
    this.#nextLocalId += 2;
    this.#streams.add(stream);
    stream.local = endStream ? ENDED : OPEN;
    return stream;
  }

  /** Notes the id of a stream the peer began, accepted or not. */
  begin(streamId: number): void {
    this.#lastPeerId = streamId;
    this.#begun[this.#begunCount++ % REMEMBERED_RESETS] = streamId;
  }

  /** A stream the peer opened; `begin` came before. */
  accept(streamId: number, handler: StreamHandler): SessionStream {
    const stream = this.#create(streamId, handler);
    stream.remote = OPEN;
    this.#streams.add(stream);
    return stream;
  }

  /** Classifies a stream that is not in the map. */
  absent(streamId: number): Absent {
    const own = (streamId & 1) === (this.#role === 'client' ? 1 : 0);
    // There is no push: a server never begins a stream, so its even ids stay idle.
    if (own ? this.#role === 'server' || streamId >= this.#nextLocalId : streamId > this.#lastPeerId)
      return 'idle';
    return this.#resets.includes(streamId) ? 'reset-by-us' : 'ended';
  }

  /** Whether a stream of the peer really began, rather than being skipped by a later one (RFC 9113 section 5.1.1). */
  hasBegun(streamId: number): boolean {
    return this.#begunCount > REMEMBERED_RESETS || this.#begun.includes(streamId);
  }

  #create(id: number, handler: StreamHandler): SessionStream {
    const announced = this.#settings.initialWindowSize;
    // Until our SETTINGS are acknowledged the peer may still use the protocol's initial window.
    const receiveWindow = this.#settingsAcknowledged ? announced : Math.max(announced, DEFAULT_WINDOW);
    return new SessionStream(this, handler, {
      id,
      sendWindow: this.#remote.initialWindowSize,
      receiveWindow,
    });
  }

  // Sending

  allowance(stream: SessionStream): number {
    return this.scheduler.allowance(stream);
  }

  sendData(stream: SessionStream, slab: Slab, offset: number, length: number, endStream: boolean): void {
    if (stream.gone) return;
    const { scheduler } = this;
    if (
      stream.local !== OPEN ||
      length > stream.sendWindow ||
      length > scheduler.window ||
      length > scheduler.maxFrameSize
    ) {
      throw new H2Error(
        'INTERNAL_ERROR',
        `Sending ${length} octets on stream ${stream.id}: not allowed in its state`,
      );
    }
    scheduler.sent(stream, length);
    this.#guard.usefulFrame(length);
    this.#writer.data(slab, offset, length, endStream, stream.id);
    if (endStream) this.#endLocal(stream);
  }

  endData(stream: SessionStream): void {
    if (stream.gone) return;
    if (stream.local !== OPEN) throw misuse('Ending', stream);
    this.#writer.endOfData(stream.id);
    this.#endLocal(stream);
  }

  sendHeaders(stream: SessionStream, headers: readonly Header[], endStream: boolean): void {
    if (stream.gone) return;
    // After the final headers only trailers may follow.
    if (stream.local === ENDED || (stream.local === OPEN && !endStream))
      throw misuse('Sending headers', stream);
    this.#writeHeaders(stream, headers, endStream);
    if (!endStream && isInformational(headers)) return;
    if (!stream.answered) {
      stream.answered = true;
      this.#guard.usefulStream();
    }
    if (endStream) this.#endLocal(stream);
    else stream.local = OPEN;
  }

  #writeHeaders(stream: SessionStream, headers: readonly Header[], endStream: boolean): void {
    this.#writer.headers(headers, {
      streamId: stream.id,
      endStream,
      maxFrameSize: this.scheduler.maxFrameSize,
    });
  }

  // Credit

  consume(stream: SessionStream, bytes: number): void {
    const returned = Math.min(bytes, stream.unconsumed);
    if (returned <= 0) return;
    stream.unconsumed -= returned;
    this.creditStream(stream, returned);
  }

  /** Returns credit of the stream's own window; pointless once the peer has ended its direction. */
  creditStream(stream: SessionStream, bytes: number): void {
    if (stream.gone || stream.remote === ENDED) return;
    stream.pendingCredit += bytes;
    if (stream.pendingCredit * 2 < this.#settings.initialWindowSize) return;
    this.#writer.windowUpdate(stream.id, stream.pendingCredit);
    stream.receiveWindow += stream.pendingCredit;
    stream.pendingCredit = 0;
  }

  grow(stream: SessionStream, bytes: number): void {
    if (stream.gone || stream.remote === ENDED) return;
    this.#writer.windowUpdate(stream.id, bytes);
    stream.receiveWindow += bytes;
  }

  /** Our SETTINGS hold from now on: windows that were opened wider for the time before shrink. */
  settingsAcknowledged(): void {
    if (this.#settingsAcknowledged) return;
    this.#settingsAcknowledged = true;
    const excess = DEFAULT_WINDOW - this.#settings.initialWindowSize;
    if (excess > 0) for (const stream of this.#streams.snapshot()) stream.receiveWindow -= excess;
  }

  /** Takes over the peer's SETTINGS; returns false if a stream's window overflows by them (RFC 9113 section 6.9.2). */
  applyRemote(next: RemoteSettings): boolean {
    const delta = next.initialWindowSize - this.#remote.initialWindowSize;
    this.#remote = next;
    this.scheduler.maxFrameSize = next.maxFrameSize;
    this.#writer.setTableLimit(next.headerTableSize);
    if (delta === 0) return true;
    for (const stream of this.#streams.snapshot()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_UINT31) return false;
      this.scheduler.windowOpened(stream);
    }
    return true;
  }

  // Ends

  #endLocal(stream: SessionStream): void {
    stream.local = ENDED;
    this.scheduler.remove(stream);
    if (stream.remote === ENDED) this.#retire(stream);
  }

  /** The peer ended its direction; `onEnd` follows last, as the owner may do anything in it. */
  endRemote(stream: SessionStream): void {
    stream.remote = ENDED;
    if (stream.local === ENDED) this.#retire(stream);
    stream.handler.onEnd();
  }

  reset(stream: SessionStream, code: number): void {
    if (stream.gone) return;
    this.#writer.resetStream(stream.id, code);
    this.#remember(stream.id);
    this.#retire(stream);
  }

  /** Refuses a stream the peer began that never entered the map. */
  refuse(streamId: number, code: number): void {
    this.#writer.resetStream(streamId, code);
    this.#remember(streamId);
  }

  /** As `refuse`, without a word: after GOAWAY the peer knows. */
  ignore(streamId: number): void {
    this.#remember(streamId);
  }

  /** Answers a request that can not be handed on, and ends its stream. */
  answer(streamId: number, headers: readonly Header[], endStream: boolean): void {
    this.#writer.headers(headers, { streamId, endStream: true, maxFrameSize: this.scheduler.maxFrameSize });
    if (!endStream) this.refuse(streamId, ErrorCode.NO_ERROR);
  }

  /** A mistake of the peer on one stream (RFC 9113 section 5.4.2). Throws if there were too many of them. */
  fail(stream: SessionStream, code: number): void {
    this.#writer.resetStream(stream.id, code);
    this.#remember(stream.id);
    this.lose(stream, code);
    this.#guard.charge('streamErrors');
  }

  /** The stream is gone by no doing of its owner, who is told; nothing is sent. */
  lose(stream: SessionStream, code: number): void {
    if (stream.gone) return;
    stream.lostCode = code;
    this.#retire(stream);
    stream.handler.onReset(code);
  }

  /** As `lose`, for all streams above `lastStreamId`. Over a snapshot: owners may do anything when they are told. */
  loseAbove(lastStreamId: number, code: number): void {
    for (const stream of this.#streams.snapshot()) if (stream.id > lastStreamId) this.lose(stream, code);
  }

  /** The connection is gone, and all streams with it. */
  loseAll(code: number): void {
    this.#ended = true;
    this.loseAbove(-1, code);
  }

  #retire(stream: SessionStream): void {
    stream.gone = true;
    stream.local = ENDED;
    stream.remote = ENDED;
    this.scheduler.remove(stream);
    this.#streams.delete(stream.id);
  }

  #remember(streamId: number): void {
    this.#resets[this.#resetCount++ % REMEMBERED_RESETS] = streamId;
  }
}

function isInformational(headers: readonly Header[]): boolean {
  const status = headers[0];
  return (
    status !== undefined && status[0] === ':status' && status[1].length === 3 && status[1].startsWith('1')
  );
}

function misuse(what: string, stream: SessionStream): H2Error {
  const state = stream.local === IDLE ? 'not begun' : stream.local === OPEN ? 'open' : 'ended';
  return new H2Error('INTERNAL_ERROR', `${what} on stream ${stream.id}: its own direction is ${state}`);
}
