// The server of end to end tests: HTTP on 8080 that says who answered whom, and bytes sent back on 9090. Knows nothing
// of the mesh. READY_AFTER_MS delays readiness.

import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { hostname } from 'node:os';

const readyAfterMs = Number(process.env['READY_AFTER_MS'] ?? 0);
const readyAt = performance.now() + readyAfterMs;

const http = createServer((request, response) => {
  if (request.url === '/ready') {
    const ready = performance.now() >= readyAt;
    response.writeHead(ready ? 200 : 503).end(`${ready}\n`);
    return;
  }
  const { method, url, headers, socket } = request;
  const answer = {
    pod: hostname(),
    node: process.env['NODE_NAME'],
    peer: socket.remoteAddress?.replace(/^::ffff:/, ''),
    method,
    url,
    headers,
  };
  response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(answer)}\n`);
});

const echo = createTcpServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});

http.listen(8080, () => console.log(`listening as ${hostname()}`));
echo.listen(9090);
process.on('SIGTERM', () => process.exit(0));
