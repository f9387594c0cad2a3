// The server of end to end tests; knows nothing of the mesh. HTTP on 8080 that says who answered whom (`/ready`: 503 for
// the first READY_AFTER_MS), TCP on 9090 and UDP on 9091 that send back what they get, a server that speaks first on
// 9092 (a banner, then as 9090), and HTTP on 8081 of the loopback address alone. The pod's name is in every answer.

import { createSocket } from 'node:dgram';
import { createServer, type RequestListener } from 'node:http';
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

const udp = createSocket('udp4');
udp.on('message', (message, { address, port }) => udp.send(`${hostname()} ${message}`, port, address));

http.listen(8080, () => console.log(`listening as ${hostname()}`));
createServer(answer).listen(8081, '127.0.0.1');
echo('').listen(9090);
udp.bind(9091);
echo(`220 ${hostname()} ready\n`).listen(9092);
process.on('SIGTERM', () => process.exit(0));
