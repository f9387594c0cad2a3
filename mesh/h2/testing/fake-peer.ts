// A session with a scripted peer: a strict in-memory transport with adjustable room, and a log of everything the owner was told.

import { Slab } from '../../io/slab.ts';
import type { H2Error } from '../error.ts';
import type { Header } from '../header.ts';
import { H2Session, type H2SessionHandler, type H2SessionOptions } from '../session.ts';
import type { H2Stream, StreamHandler } from '../stream.ts';
import type { H2Transport } from '../transport.ts';
import { CONNECT, parseFrames, PREFACE, type RawFrame, settingsFrame } from './frames.ts';

/** Takes what `room` allows and nothing more; what was written but not flushed is not visible to the peer. */
export class FakeTransport implements H2Transport {
  roomLeft = 1 << 24;
  state: 'open' | 'ended' | 'destroyed' = 'open';
  flushes = 0;
  #written: Buffer[] = [];
  #sent: Buffer[] = [];

  room(): number {
    return this.roomLeft;
  }

  write(slab: Slab, offset: number, length: number): void {
    if (this.state !== 'open') throw new Error(`Writing to a transport that is ${this.state}`);
    if (length > this.roomLeft || length <= 0)
      throw new Error(`Writing ${length} octets with room for ${this.roomLeft}`);
    if (offset < 0 || offset + length > slab.bytes.length)
      throw new Error(`Writing outside of the slab at ${offset}`);
    this.roomLeft -= length;
    this.#written.push(Buffer.copyBytesFrom(slab.bytes, offset, length));
  }

  flush(): void {
    this.flushes += 1;
    this.#sent.push(...this.#written);
    this.#written = [];
  }

  end(): void {
    this.flush();
    this.state = 'ended';
  }

  destroy(): void {
    this.#written = [];
    this.state = 'destroyed';
  }

  /** Octets sent since the last call. */
  take(): Buffer {
    const bytes = Buffer.concat(this.#sent);
    this.#sent = [];
    return bytes;
  }
}

export interface PeerOptions extends Partial<Omit<H2SessionOptions, 'settings'>> {
  readonly settings?: Partial<H2SessionOptions['settings']>;
  /** Default: log, and hold the stream open. */
  readonly onStream?: (
    stream: H2Stream,
    headers: readonly Header[],
    endStream: boolean,
  ) => StreamHandler | undefined;
  /** Default true: preface and SETTINGS are exchanged, and the session's opening is taken off the wire. */
  readonly handshake?: boolean;
}

export class FakePeer {
  readonly transport = new FakeTransport();
  readonly session: H2Session;
  /** What the owner was told, one string each. */
  readonly log: string[] = [];
  readonly streams = new Map<number, H2Stream>();
  closedWith: H2Error | undefined | 'open' = 'open';
  readonly #slab = new Slab(1 << 16);

  constructor(options: PeerOptions = {}) {
    const handler: H2SessionHandler = {
      onStream: (stream, headers, endStream) => {
        this.streams.set(stream.id, stream);
        this.log.push(`${stream.id} request ${show(headers)}${endStream ? ' end' : ''}`);
        return options.onStream === undefined
          ? this.recorder(stream.id)
          : options.onStream(stream, headers, endStream);
      },
      onGoaway: (last, code, debug) => this.log.push(`goaway ${last} ${code} ${debug}`),
      onPong: (payload) => this.log.push(`pong ${Buffer.from(payload).toString('hex')}`),
      onExtension: (id, payload) => this.log.push(`extension ${id} ${payload.toString('latin1')}`),
      onSettings: () => this.log.push('settings'),
      onClosed: (error) => {
        if (this.closedWith !== 'open') throw new Error('onClosed came twice');
        this.closedWith = error;
      },
    };
    const settings = {
      initialWindowSize: 65_535,
      maxFrameSize: 16_384,
      maxConcurrentStreams: 100,
      maxHeaderListSize: 16_384,
    };
    this.session = new H2Session(this.transport, handler, {
      role: 'server',
      connectionWindow: 65_535,
      now: () => 0,
      ...options,
      settings: { ...settings, ...options.settings },
    });
    this.session.start();
    if (options.handshake === false) return;
    this.feed(options.role === 'client' ? settingsFrame() : Buffer.concat([PREFACE, settingsFrame()]));
    this.transport.take();
    this.log.length = 0;
  }

  /** A handler that logs; DATA pieces of one stream in a row become one entry. */
  recorder(id: number): StreamHandler {
    const data = `${id} data `;
    return {
      onHeaders: (headers, endStream) =>
        this.log.push(`${id} headers ${show(headers)}${endStream ? ' end' : ''}`),
      onData: (slab, offset, length) => {
        const piece = slab.bytes.toString('latin1', offset, offset + length);
        const last = this.log.length - 1;
        if (this.log[last]?.startsWith(data)) this.log[last] += piece;
        else this.log.push(data + piece);
      },
      onEnd: () => this.log.push(`${id} end`),
      onReset: (code) => this.log.push(`${id} reset ${code}`),
      onWritable: () => this.log.push(`${id} writable`),
    };
  }

  /** Client: opens a stream, the log's next odd id, and flushes its headers. */
  open(headers: readonly Header[] = CONNECT, endStream = false): H2Stream {
    const stream = this.session.request(headers, endStream, this.recorder(1 + 2 * this.streams.size));
    if (stream === undefined) throw new Error('No stream could be opened');
    this.streams.set(stream.id, stream);
    this.session.flush();
    return stream;
  }

  stream(id: number): H2Stream {
    const stream = this.streams.get(id);
    if (stream === undefined) throw new Error(`No stream ${id}`);
    return stream;
  }

  /** Bytes from the peer, in pieces of `pieces` octets, the rest at once. */
  feed(bytes: Buffer, pieces: readonly number[] = []): void {
    let at = 0;
    const step = (length: number): void => {
      // Not at 0: offsets must be honoured. The rest is filled, so that reading outside shows.
      this.#slab.bytes.fill(0xee);
      bytes.copy(this.#slab.bytes, 3, at, at + length);
      this.session.receive(this.#slab, 3, length);
      at += length;
    };
    for (const piece of pieces) if (at + piece <= bytes.length) step(piece);
    while (at < bytes.length) step(Math.min(60_000, bytes.length - at));
  }

  /** Frames the session has sent since the last call. */
  frames(): RawFrame[] {
    return parseFrames(this.transport.take());
  }

  /** The same, as short strings: type, stream, and the number a frame of one word carries. */
  sent(): string[] {
    return this.frames().map((f) => {
      const name = NAMES[f.type] ?? `type ${f.type}`;
      const numbers = f.type === 3 || f.type === 8 ? ` ${f.payload.readUInt32BE(0)}` : '';
      const goaway = f.type === 7 ? ` ${f.payload.readUInt32BE(0)} ${f.payload.readUInt32BE(4)}` : '';
      const data = f.type === 0 ? ` ${f.payload.length}` : '';
      const flag =
        (f.type <= 1 && (f.flags & 1) !== 0 ? ' end' : '') +
        ((f.type === 4 || f.type === 6) && f.flags === 1 ? ' ack' : '');
      return `${name} ${f.streamId}${numbers}${goaway}${data}${flag}`;
    });
  }
}

const NAMES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
];

function show(headers: readonly Header[]): string {
  return headers.map(([name, value]) => `${name}=${value}`).join(' ');
}

const filled = new Slab(1 << 20);

/** Sends `length` octets of anything as one DATA frame. */
export function write(stream: H2Stream, length: number, endStream = false): void {
  stream.writeData(filled, 9, length, endStream);
}

/** A peer that speaks as the server to a client session. */
export function clientPeer(options: PeerOptions = {}): FakePeer {
  return new FakePeer({ role: 'client', ...options });
}
