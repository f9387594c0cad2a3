// Collects the fragments of one header block from HEADERS and its CONTINUATION frames (RFC 9113 section 4.3), within bounds.

import { H2Error } from './error.ts';
import type { ControlFrame } from './session-reader.ts';
import { FrameFlag, FrameType, readUint31 } from './frame.ts';
import type { Guard } from './guard.ts';

const NOTHING = Buffer.alloc(0);

export class HeaderBlock {
  readonly #guard: Guard;
  readonly #maxBytes: number;
  #fragments: Buffer[] = [];
  #bytes = 0;
  #continuations = 0;

  streamId = 0;
  endStream = false;
  /** The complete block, once `add` returned true. */
  bytes: Buffer = NOTHING;
  start = 0;
  end = 0;

  constructor(guard: Guard, maxBytes: number) {
    this.#guard = guard;
    this.#maxBytes = maxBytes;
  }

  /** Adds a HEADERS or CONTINUATION frame; true if the block is complete. Throws H2Error for errors of the connection. */
  add(frame: ControlFrame): boolean {
    const last = (frame.flags & FrameFlag.END_HEADERS) !== 0;
    let { start, end } = frame;
    if (frame.type === FrameType.HEADERS) {
      this.streamId = frame.streamId;
      this.endStream = (frame.flags & FrameFlag.END_STREAM) !== 0;
      end -= padding(frame);
      if ((frame.flags & FrameFlag.PADDED) !== 0) start += 1;
      if ((frame.flags & FrameFlag.PRIORITY) !== 0) start = skipPriority(frame, start, end);
      if (last) {
        this.#complete(frame.bytes, start, end);
        return true;
      }
    } else {
      this.#continuations += 1;
      if (this.#continuations > this.#guard.limits.continuations) {
        throw new H2Error(
          'ENHANCE_YOUR_CALM',
          `Peer exceeded the limit of ${this.#guard.limits.continuations} CONTINUATION frames`,
        );
      }
    }
    if (start === end) this.#guard.charge('emptyFrames');
    return this.#collect(frame, { start, end, last });
  }

  #collect(
    frame: ControlFrame,
    part: { readonly start: number; readonly end: number; readonly last: boolean },
  ): boolean {
    this.#bytes += part.end - part.start;
    if (this.#bytes > this.#maxBytes) {
      throw new H2Error(
        'ENHANCE_YOUR_CALM',
        `Peer exceeded the limit of ${this.#maxBytes} octets in a header block`,
      );
    }
    this.#fragments.push(Buffer.copyBytesFrom(frame.bytes, part.start, part.end - part.start));
    if (!part.last) return false;
    const block = Buffer.concat(this.#fragments);
    this.#fragments = [];
    this.#bytes = 0;
    this.#continuations = 0;
    this.#complete(block, 0, block.length);
    return true;
  }

  /** The block was decoded: an idle connection keeps no memory of it. */
  release(): void {
    this.bytes = NOTHING;
  }

  #complete(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }
}

/** Octets of padding at the end of a HEADERS frame (RFC 9113 section 6.2). */
function padding(frame: ControlFrame): number {
  if ((frame.flags & FrameFlag.PADDED) === 0) return 0;
  const length = frame.end - frame.start;
  if (length === 0) throw new H2Error('FRAME_SIZE_ERROR', 'Reading HEADERS: no room for the pad length');
  const padLength = frame.bytes[frame.start] as number;
  if (padLength >= length) throw new H2Error('PROTOCOL_ERROR', 'Reading HEADERS: padding exceeds the frame');
  return padLength;
}

/** Priorities are ignored (RFC 9113 section 5.3.2); a stream that depends on itself still was an error in RFC 7540. */
function skipPriority(frame: ControlFrame, start: number, end: number): number {
  if (end - start < 5) throw new H2Error('FRAME_SIZE_ERROR', 'Reading HEADERS: no room for the priority');
  requireOtherStream(frame, start);
  return start + 5;
}

/** Throws if the priority at `at` makes the frame's stream depend on itself (RFC 7540 section 5.3.1). */
export function requireOtherStream(frame: ControlFrame, at: number): void {
  if (readUint31(frame.bytes, at) === frame.streamId) {
    throw new H2Error('PROTOCOL_ERROR', `Reading a priority: stream ${frame.streamId} depends on itself`);
  }
}
