// Test server on our own session over loopback TCP, cleartext with prior knowledge (RFC 9113 section 3.3).
// Echoes bodies with flow control, so that it is a real user of the session and not only a target.

import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Slab } from '../../io/slab.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { H2Error } from '../error.ts';
import { type Header, headerValue } from '../header.ts';
import { H2Session, type H2SessionHandler, type H2SessionOptions } from '../session.ts';
import type { H2Stream, StreamHandler } from '../stream.ts';
import { SocketTransport } from './socket-transport.ts';

const FRAME_HEADER = 9;

export const TEST_SETTINGS: H2SessionOptions['settings'] = {
  initialWindowSize: 65_535,
  maxFrameSize: 16_384,
  maxConcurrentStreams: 100,
  maxHeaderListSize: 16_384,
};

/** Sends a queue of chunks as far as the stream allows; consumes what it was given once it is sent. */
export class StreamPump {
  readonly #stream: H2Stream;
  readonly #slab = new Slab(65_536 + FRAME_HEADER);
  readonly #queue: Buffer[] = [];
  #ended = false;
  #done = false;
  /** Called with the octets of each DATA frame sent. */
  onSent: ((bytes: number) => void) | undefined;

  constructor(stream: H2Stream) {
    this.#stream = stream;
  }

  push(chunk: Buffer): void {
    this.#queue.push(chunk);
    this.run();
  }

  end(): void {
    this.#ended = true;
    this.run();
  }

  run(): void {
    for (;;) {
      const chunk = this.#queue[0];
      if (chunk === undefined) break;
      const allowed = this.#stream.sendAllowance();
      if (allowed === 0) return;
      const length = Math.min(allowed, chunk.length, 65_536);
      chunk.copy(this.#slab.bytes, FRAME_HEADER, 0, length);
      this.#stream.writeData(this.#slab, FRAME_HEADER, length, false);
      if (length === chunk.length) this.#queue.shift();
      else this.#queue[0] = chunk.subarray(length);
      this.onSent?.(length);
    }
    if (!this.#ended || this.#done) return;
    this.#done = true;
    this.#stream.endData();
  }
}

function echo(stream: H2Stream, headers: readonly Header[], endStream: boolean): StreamHandler {
  if (endStream) {
    stream.respond(
      [
        [':status', '200'],
        ['content-type', 'text/plain'],
      ],
      false,
    );
  } else {
    stream.respond(
      [
        [':status', '200'],
        ['x-method', headerValue(headers, ':method') ?? ''],
      ],
      false,
    );
  }
  const pump = new StreamPump(stream);
  pump.onSent = (bytes) => stream.consume(bytes);
  if (endStream) pump.push(Buffer.from('weft speaks HTTP/2'));
  return {
    onData: (slab, offset, length) => pump.push(Buffer.copyBytesFrom(slab.bytes, offset, length)),
    onEnd: () => pump.end(),
    onReset: () => {},
    onWritable: () => pump.run(),
  };
}

export interface EchoServer {
  readonly port: number;
  readonly sessions: readonly H2Session[];
  /** Errors of sessions that ended, in order. */
  readonly errors: readonly (H2Error | undefined)[];
  close(): Promise<void>;
}

/** Listens on a free loopback port. */
export async function startEchoServer(
  options: Partial<H2SessionOptions> & {
    readonly onStream?: H2SessionHandler['onStream'];
    readonly bound?: number;
  } = {},
): Promise<EchoServer> {
  const sockets = new Set<Socket>();
  const sessions: H2Session[] = [];
  const errors: (H2Error | undefined)[] = [];
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    const transport = new SocketTransport(socket, options);
    const session = new H2Session(
      transport,
      { onStream: options.onStream ?? echo, onClosed: (error) => errors.push(error) },
      {
        settings: TEST_SETTINGS,
        connectionWindow: 1_048_576,
        now: () => systemClock.monotonic(),
        ...options,
        role: 'server',
      },
    );
    sessions.push(session);
    transport.attach(session);
    session.start();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    sessions,
    errors,
    close: () => closeAll(server, sockets),
  };
}

async function closeAll(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const socket of sockets) socket.destroy();
  await closed;
}
