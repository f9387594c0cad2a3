// The demo's API server, an ordinary program that knows nothing of the mesh. Listens on both address families:
// HTTP 8080 (JSON: its pod, the client's address as it saw it, the request's headers), gRPC 7000 (any method, answers with
// its pod), TCP echo 9000, a line every 100 ms on 9001, a sink that counts and drops bytes on 9002. The query asks for
// trouble: `?delay=MS` waits, `?fail=POD` answers 503 in that pod, `?seen=PATH` tells how often it was asked for a path.

import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { pod: { type: 'string', default: 'api' } } });
const pod = values.pod;

/** The client as this program sees it; an IPv4 client of a dual-stack socket appears as a mapped address. */
function clientOf(socket: Socket): string {
  return (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
}

const seen = new Map<string, number>();

const http = createHttpServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://pod');
  const asked = searchParams.get('seen');
  if (asked === null) seen.set(pathname, (seen.get(pathname) ?? 0) + 1);
  const { headers, socket, url } = request;
  const body = JSON.stringify({
    pod,
    client: clientOf(socket),
    path: url,
    headers,
    ...(asked !== null && { seen: seen.get(asked) ?? 0 }),
  });
  response.statusCode = searchParams.get('fail') === pod ? 503 : 200;
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(body));
  setTimeout(() => response.end(body), Number(searchParams.get('delay') ?? 0));
});

/** A gRPC server needs no more than this to answer with one message. */
const grpc = createHttp2Server();
grpc.on('stream', (stream: ServerHttp2Stream, headers) => {
  stream.on('error', () => stream.destroy());
  stream.resume();
  const text = Buffer.from(`${pod} ${headers[':path']}`);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.concat([prefix, text]));
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

await Promise.all([
  listen(http, 8080),
  listen(grpc, 7000),
  listen(echo, 9000),
  listen(stream, 9001),
  listen(sink, 9002),
]);
console.log(`${pod} listening`);
process.on('SIGTERM', () => process.exit(0));
