// How node:http reads octets: an implementation that is not ours, without sockets.

import * as http from 'node:http';
import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';

export interface ReadRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string | undefined;
  readonly body: string;
}

export interface ReadResponse {
  readonly status: number;
  readonly body: string;
}

/** Every request that came whole, in order, and the code of the error that ended the reading, if one did. */
export async function readRequestsByNode(
  octets: string,
): Promise<{ requests: ReadRequest[]; error: string | undefined }> {
  const requests: ReadRequest[] = [];
  let error: string | undefined;
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      requests.push({
        method,
        target: url,
        host: headers.host,
        body: Buffer.concat(chunks).toString('latin1'),
      });
      response.end();
    });
  });
  server.on('checkExpectation', (_, response) => response.end());
  server.on('upgrade', (_, socket) => socket.destroy());
  server.on('clientError', (cause: NodeJS.ErrnoException) => {
    error = cause.code ?? cause.message;
  });
  const peer = new Peer();
  server.emit('connection', peer);
  peer.push(Buffer.from(octets, 'latin1'));
  await settled(() => requests.length + (error === undefined ? 0 : 1));
  peer.destroy();
  return { requests, error };
}

/** The response to one request, read to its end; undefined if node refuses it or it does not end. */
export async function readResponseByNode(octets: string, method: string): Promise<ReadResponse | undefined> {
  const peer = new Peer();
  const seen: { response: ReadResponse | undefined; error: string | undefined } = {
    response: undefined,
    error: undefined,
  };
  const request = http.request({ method, host: 'a', createConnection: () => peer }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('error', () => {});
    response.on('end', () => {
      if (!response.complete) return;
      seen.response = { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('latin1') };
    });
  });
  request.on('error', (error: Error) => {
    seen.error = error.message;
  });
  request.end();
  await nextTurn();
  peer.push(Buffer.from(octets, 'latin1'));
  peer.push(null);
  await settled(() => (seen.response === undefined ? 0 : 1) + (seen.error === undefined ? 0 : 1));
  peer.destroy();
  return seen.response;
}

/** Nothing more comes when many turns brought nothing. */
async function settled(count: () => number): Promise<void> {
  let quiet = 0;
  for (let last = -1; quiet < 6; ) {
    quiet = count() === last ? quiet + 1 : 0;
    last = count();
    await nextTurn();
  }
}

/** A connection whose other end is the test; takes everything. */
class Peer extends Duplex {
  constructor() {
    super({ allowHalfOpen: true });
    this.on('error', () => {});
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
