// Limits against peers that make us work for nothing: rapid reset, and floods of control, empty and ignored frames.
// Each kind is a leaky bucket: wasteful frames fill it, useful work and time drain it.
// Over the limit the connection ends with ENHANCE_YOUR_CALM and a text that names the kind.

import { H2Error } from './error.ts';

/** Sizes of the buckets, and hard limits on what is held for a peer. */
export interface H2Limits {
  /** Streams reset by the peer before they were answered. CVE-2023-44487; the h2 library allows 20 at once, proxies 100 or more. */
  readonly earlyResets: number;
  /** Streams ended by us because of the peer's mistakes (malformed requests, frames on closed streams). */
  readonly streamErrors: number;
  readonly settings: number;
  readonly pings: number;
  /** DATA without a byte that does not end its stream, and empty header fragments. CVE-2019-9518. */
  readonly emptyFrames: number;
  /** PRIORITY and frames of unknown type. CVE-2019-9513. */
  readonly ignoredFrames: number;
  /** WINDOW_UPDATE beyond what our DATA frames explain. CVE-2019-9511. */
  readonly windowUpdates: number;
  /** CONTINUATION frames of one header block. CVE-2024-27316. */
  readonly continuations: number;
  /** Octets of answers (acknowledgements, RST_STREAM, WINDOW_UPDATE) held for a peer that does not read. CVE-2019-9512, -9515. */
  readonly queuedReplyBytes: number;
  /** Octets of all frames but DATA held while the transport has no room. */
  readonly queuedBytes: number;
}

export const DEFAULT_LIMITS: H2Limits = {
  earlyResets: 100,
  streamErrors: 200,
  settings: 50,
  pings: 500,
  emptyFrames: 200,
  ignoredFrames: 2_000,
  windowUpdates: 4_000,
  // 16 frames of at least 16 KiB hold any list we accept; small fragments are a sign of abuse.
  continuations: 16,
  queuedReplyBytes: 65_536,
  queuedBytes: 1_048_576,
};

export type Nuisance =
  | 'earlyResets'
  | 'streamErrors'
  | 'settings'
  | 'pings'
  | 'emptyFrames'
  | 'ignoredFrames'
  | 'windowUpdates';

/** A bucket drains from full to empty in this time, work or no work. */
const DRAIN_MS = 10_000;

/** One unit of useful work is a DATA frame, or this much of a larger one. */
const UNIT_SHIFT = 14;

/**
 * WINDOW_UPDATE frames that one unit explains: a peer may send one for the stream and one for the connection for every
 * read of its application, however small. Envoy allows as many.
 */
const UPDATES_PER_UNIT = 20;

class Bucket {
  readonly #limit: number;
  #level = 0;
  #drainedAtMs = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds one; false if that is over the limit. */
  add(nowMs: number): boolean {
    if (nowMs > this.#drainedAtMs) {
      this.drain(((nowMs - this.#drainedAtMs) / DRAIN_MS) * this.#limit);
      this.#drainedAtMs = nowMs;
    }
    this.#level += 1;
    return this.#level <= this.#limit;
  }

  drain(amount: number): void {
    this.#level = Math.max(0, this.#level - amount);
  }
}

export class Guard {
  readonly limits: H2Limits;
  readonly #now: () => number;
  // Made at the first nuisance of its kind: a well-behaved connection has none.
  readonly #buckets = new Map<Nuisance, Bucket>();
  #usefulUnits = 0;

  /** @param options.now monotonic ms. */
  constructor(options: { readonly limits?: Partial<H2Limits>; readonly now: () => number }) {
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#now = options.now;
  }

  /** A frame that carried `bytes` of payload, in either direction. Called for every DATA frame, hence only a count. */
  usefulFrame(bytes: number): void {
    this.#usefulUnits = (this.#usefulUnits + 1 + (bytes >> UNIT_SHIFT)) & 0x3fffffff;
  }

  /** A stream that was answered: pays for one early reset and one stream error. */
  usefulStream(): void {
    this.#usefulUnits += 1;
    this.#buckets.get('earlyResets')?.drain(1);
    this.#buckets.get('streamErrors')?.drain(1);
  }

  /** Throws H2Error ENHANCE_YOUR_CALM if the peer has done this too often. */
  charge(kind: Nuisance): void {
    this.#spendUsefulUnits();
    let bucket = this.#buckets.get(kind);
    if (bucket === undefined) {
      bucket = new Bucket(this.limits[kind]);
      this.#buckets.set(kind, bucket);
    }
    if (bucket.add(this.#now())) return;
    throw new H2Error(
      'ENHANCE_YOUR_CALM',
      `Peer exceeded the limit of ${this.limits[kind]} for ${DESCRIPTION[kind]}`,
    );
  }

  /** Frames with payload pay for frames without; they do not pay for resets, or one byte would buy a stream. */
  #spendUsefulUnits(): void {
    if (this.#usefulUnits === 0) return;
    for (const [kind, bucket] of this.#buckets) {
      if (kind === 'earlyResets' || kind === 'streamErrors') continue;
      bucket.drain(kind === 'windowUpdates' ? this.#usefulUnits * UPDATES_PER_UNIT : this.#usefulUnits);
    }
    this.#usefulUnits = 0;
  }
}

const DESCRIPTION: Record<Nuisance, string> = {
  earlyResets: 'streams reset before an answer (rapid reset)',
  streamErrors: 'stream errors',
  settings: 'SETTINGS frames',
  pings: 'PING frames',
  emptyFrames: 'empty frames',
  ignoredFrames: 'PRIORITY and unknown frames',
  windowUpdates: 'WINDOW_UPDATE frames',
};
