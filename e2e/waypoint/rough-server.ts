// An application's server that misbehaves on request: the path says how. Plain TCP, because no HTTP server would do it.

import { createServer, type Server, type Socket } from 'node:net';

const fine = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nfine';
const floodOf1xx = 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(10_000);

/** By the first segment of the path. What is not here is answered `fine`. */
const manners: Readonly<Record<string, (socket: Socket) => void>> = {
  'reset-mid-body': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe beginning', () =>
      socket.resetAndDestroy(),
    ),
  'reset-mid-chunks': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', () =>
      socket.resetAndDestroy(),
    ),
  'close-after-head': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'),
  'close-without-answer': (socket) => socket.end(),
  'reset-without-answer': (socket) => socket.resetAndDestroy(),
  'flood-1xx': (socket) => socket.write(floodOf1xx),
  'no-http': (socket) => socket.write('SSH-2.0-OpenSSH_9.9\r\n\r\n'),
  'two-lengths': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok'),
  'endless-head': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    const more = (): void => {
      while (socket.writable && socket.write(`x: ${'y'.repeat(8_000)}\r\n`));
      socket.once('drain', more);
    };
    more();
  },
  'broken-chunks': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n'),
  stall: () => {},
  'stall-mid-body': (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe beginning'),
  'early-answer': (socket) => socket.write('HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n'),
};

/** Answers after each head, of which it tells before; bodies of requests are taken for nothing. */
export function roughServer(onRequest: (manner: string) => void): Server {
  return createServer((socket) => {
    let received = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (part) => {
      received += part.toString('latin1');
      for (let end = received.indexOf('\r\n\r\n'); end >= 0; end = received.indexOf('\r\n\r\n')) {
        // What is before it is the body of the last.
        const [, name = ''] = /(?:GET|POST) \/([^/? ]*)/.exec(received) ?? [];
        received = received.slice(end + 4);
        onRequest(name);
        (manners[name] ?? (() => socket.write(fine)))(socket);
      }
    });
  });
}
