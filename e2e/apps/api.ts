// The demo's API server, an ordinary program that knows nothing of the mesh. Listens on both address families:
// HTTP 8080 (JSON: its pod, the client's address as it saw it), TCP echo 9000, a line every 100 ms on 9001,
// a sink that counts and drops bytes on 9002.

import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { pod: { type: 'string', default: 'api' } } });
const pod = values.pod;

/** The client as this program sees it; an IPv4 client of a dual-stack socket appears as a mapped address. */
function clientOf(socket: Socket): string {
  return (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
}

const http = createHttpServer((request, response) => {
  const body = JSON.stringify({ pod, client: clientOf(request.socket), path: request.url });
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(body));
  response.end(body);
});
http.keepAliveTimeout = 60_000;

const echo = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});

const stream = createServer((socket) => {
  let count = 0;
  const timer = setInterval(() => socket.write(`${pod} ${count++}\n`), 100);
  socket.on('close', () => clearInterval(timer));
  socket.on('error', () => socket.destroy());
  socket.resume();
});

const sink = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.resume();
});

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '::' }, resolve);
  });
}

await Promise.all([listen(http, 8080), listen(echo, 9000), listen(stream, 9001), listen(sink, 9002)]);
console.log(`${pod} listening`);
process.on('SIGTERM', () => process.exit(0));
