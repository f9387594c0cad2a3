// The server of end to end tests; knows nothing of the mesh. HTTP on 8080 that says who answered whom (`/ready`: 503 for
// the first READY_AFTER_MS), TCP on 9090 and UDP on 9091 that send back what they get, a server that speaks first on
// 9092 (a banner, then as 9090), gRPC health checking on 9093, and HTTP on 8081 of the loopback address alone. The pod's
// name is in every answer.

import { createSocket } from 'node:dgram';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTcpServer } from 'node:net';
import { hostname } from 'node:os';

const readyAfterMs = Number(process.env['READY_AFTER_MS'] ?? 0);
const readyAt = performance.now() + readyAfterMs;

const answer: RequestListener = (request, response) => {
  if (request.url === '/ready') {
    const ready = performance.now() >= readyAt;
    response.writeHead(ready ? 200 : 503).end(`${ready}\n`);
    return;
  }
  const { method, url, headers, socket } = request;
  const text = JSON.stringify({
    pod: hostname(),
    node: process.env['NODE_NAME'],
    peer: socket.remoteAddress?.replace(/^::ffff:/, ''),
    method,
    url,
    headers,
  });
  const fields = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  response.writeHead(200, fields).end(text);
};

const http = createServer(answer);
// Longer than any test leaves a kept connection alone.
http.keepAliveTimeout = 60_000;

function echo(banner: string): ReturnType<typeof createTcpServer> {
  return createTcpServer((socket) => {
    socket.on('error', () => socket.destroy());
    if (banner !== '') socket.write(banner);
    socket.pipe(socket);
  });
}

/** grpc.health.v1.Health/Check for every service: one message, whose only field says SERVING. */
const grpc = createHttp2Server();
grpc.on('stream', (stream: ServerHttp2Stream) => {
  stream.on('error', () => stream.close());
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, 1]));
});

const udp = createSocket('udp4');
udp.on('message', (message, { address, port }) => udp.send(`${hostname()} ${message}`, port, address));

http.listen(8080, () => console.log(`listening as ${hostname()}`));
createServer(answer).listen(8081, '127.0.0.1');
echo('').listen(9090);
udp.bind(9091);
grpc.listen(9093);
echo(`220 ${hostname()} ready\n`).listen(9092);

/** As good programs do: takes nothing new, ends what it began. */
process.on('SIGTERM', () => {
  http.close();
  setTimeout(() => process.exit(0), 1_000);
});
