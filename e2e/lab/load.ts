// A load client on Node's own sockets: requests, new connections, 64-byte round trips or bulk, from the namespace it
// runs in. It measures what an application sees; it is the same on both sides of a comparison, so ratios are fair,
// absolute numbers are those of a Node client.

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { LoadProgress, LoadReport, LoadRequest } from './agent-protocol.ts';

const maxSamples = 200_000;
const echoMessage = Buffer.alloc(64, 'x');
const bulkChunk = Buffer.alloc(64 * 1024, 'b');

export class Load {
  readonly #request: LoadRequest;
  readonly #started = performance.now();
  readonly #samples: number[] = [];
  readonly #errors: Record<string, number> = {};
  readonly #servers: Record<string, number> = {};
  readonly #sockets = new Set<Socket>();
  readonly #done: Promise<unknown>;
  #succeeded = 0;
  #failed = 0;
  #bytes = 0;
  #markedAt = 0;
  #nextDue = 0;
  #afterMark = { succeeded: 0, failed: 0 };
  #stopping = false;
  #seconds = 0;

  /** Starts at once. */
  constructor(request: LoadRequest) {
    this.#request = request;
    if (request.durationMs !== undefined) setTimeout(() => this.stop(), request.durationMs);
    this.#done = Promise.all(Array.from({ length: request.concurrency }, () => this.#client()));
  }

  progress(): LoadProgress {
    return { succeeded: this.#succeeded, failed: this.#failed, afterMark: { ...this.#afterMark } };
  }

  /** Exchanges that begin from now on are counted apart, too. */
  mark(): void {
    this.#markedAt = performance.now();
    this.#afterMark = { succeeded: 0, failed: 0 };
  }

  /** Finishes what is under way, then `report` settles. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#seconds = (performance.now() - this.#started) / 1000;
    if (this.#request.kind === 'bulk') for (const socket of this.#sockets) socket.destroy();
  }

  async report(): Promise<LoadReport> {
    await this.#done;
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const percentile = (share: number): number =>
      Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 1000);
    return {
      succeeded: this.#succeeded,
      failed: this.#failed,
      afterMark: this.#afterMark,
      errors: this.#errors,
      servers: this.#servers,
      bytes: this.#bytes,
      seconds: this.#seconds,
      p50: percentile(0.5),
      p99: percentile(0.99),
    };
  }

  /** When the next exchange may begin. What was late is not made up for. */
  async #due(): Promise<void> {
    const { perSecond } = this.#request;
    if (perSecond === undefined) return;
    const now = performance.now();
    const due = Math.max(now, this.#nextDue);
    this.#nextDue = due + 1_000 / perSecond;
    if (due > now) await delay(due - now);
  }

  async #client(): Promise<void> {
    while (!this.#stopping) {
      await this.#due();
      const started = performance.now();
      try {
        if (this.#request.kind === 'bulk') await this.#bulk();
        else await this.#exchanges(this.#request.kind);
      } catch (error) {
        if (this.#stopping && this.#request.kind === 'bulk') return;
        this.#fail(started, error as NodeJS.ErrnoException);
      }
    }
  }

  /** One connection with one exchange (`connections`) or as many as there is time for. */
  async #exchanges(kind: 'requests' | 'connections' | 'round-trips'): Promise<void> {
    let started = performance.now();
    const socket = await this.#connect();
    const reader = new Reader(socket);
    let open = true;
    try {
      do {
        if (kind !== 'connections') started = performance.now();
        if (kind === 'round-trips') {
          socket.write(echoMessage);
          await reader.take(echoMessage.length);
        } else {
          open = await this.#httpExchange(socket, reader, kind === 'connections');
        }
        this.#succeed(started);
        if (kind !== 'connections') await this.#due();
      } while (!this.#stopping && open && kind !== 'connections');
    } finally {
      socket.destroy();
    }
  }

  /** False if the server takes no further request on the connection. */
  async #httpExchange(socket: Socket, reader: Reader, last: boolean): Promise<boolean> {
    const connection = last ? 'close' : 'keep-alive';
    socket.write(`GET / HTTP/1.1\r\nhost: ${this.#request.host}\r\nconnection: ${connection}\r\n\r\n`);
    const head = await reader.takeUntil('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const body = (await reader.take(length)).toString();
    const server = /"pod":"([^"]+)"/.exec(body)?.[1];
    if (server !== undefined) this.#servers[server] = (this.#servers[server] ?? 0) + 1;
    return !/^connection: *close/im.test(head);
  }

  async #bulk(): Promise<void> {
    const socket = await this.#connect();
    await new Promise<void>((resolve, reject) => {
      const push = (): void => {
        while (socket.write(bulkChunk)) this.#bytes += bulkChunk.length;
        this.#bytes += bulkChunk.length;
      };
      socket
        .on('drain', push)
        .on('error', reject)
        .on('close', () => resolve());
      push();
    });
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const { host, port, family } = this.#request;
      const socket = connect({ host, port, noDelay: true, ...(family && { family }) });
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        resolve(socket);
      });
    });
  }

  #succeed(started: number): void {
    this.#succeeded++;
    if (started >= this.#markedAt) this.#afterMark.succeeded++;
    if (this.#samples.length < maxSamples) this.#samples.push(performance.now() - started);
  }

  /** `started`: when the connection was begun; one that was open at the mark may still fail on its account. */
  #fail(started: number, error: NodeJS.ErrnoException): void {
    this.#failed++;
    if (started >= this.#markedAt) this.#afterMark.failed++;
    const code = error.code ?? error.message;
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }
}

/** Takes exact amounts from a socket; rejects when it ends first. */
class Reader {
  #buffer: Buffer = Buffer.alloc(0);
  #ended: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
      this.#wake?.();
    });
    const end = (error: Error): void => {
      this.#ended ??= error;
      this.#wake?.();
    };
    socket.on('error', end);
    socket.on('close', () => end(Object.assign(new Error('Closed before the answer'), { code: 'EOF' })));
  }

  take(length: number): Promise<Buffer> {
    return this.#takeBy(() => (this.#buffer.length >= length ? length : -1));
  }

  async takeUntil(mark: string): Promise<string> {
    const taken = await this.#takeBy(() => {
      const at = this.#buffer.indexOf(mark);
      return at < 0 ? -1 : at + mark.length;
    });
    return taken.toString('latin1');
  }

  async #takeBy(length: () => number): Promise<Buffer> {
    for (;;) {
      const end = length();
      if (end >= 0) {
        const taken = this.#buffer.subarray(0, end);
        this.#buffer = this.#buffer.subarray(end);
        return taken;
      }
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
